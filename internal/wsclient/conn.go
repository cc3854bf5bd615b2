package wsclient

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
	"unicode/utf8"
)

// Conn is one TCP connection to a server, before or after the handshake.
type Conn struct {
	tcp     *net.TCPConn
	in      *bufio.Reader
	timeout time.Duration

	// Mute makes ReadMessage leave pings and closes unanswered: a peer that
	// is there and yet is not.
	Mute bool
}

// CloseError is ReadMessage's error for a close frame.
type CloseError struct {
	Code   int // 1005 if the frame was empty (RFC 6455 section 7.1.5)
	Reason string
}

func (e *CloseError) Error() string { return fmt.Sprintf("closed: %d %q", e.Code, e.Reason) }

// Send writes bytes as they are, in one call.
func (c *Conn) Send(b []byte) error {
	if err := c.tcp.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return err
	}
	if _, err := c.tcp.Write(b); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// SendFrames writes frames in one call, so that they share a segment.
func (c *Conn) SendFrames(frames ...Frame) error { return c.Send(Join(frames...)) }

// SendText writes one text message.
func (c *Conn) SendText(s string) error { return c.SendFrames(Text(s)) }

// SendSlowly writes b byte by byte, each one only after the server has taken
// the one before.
func (c *Conn) SendSlowly(b []byte) error {
	for i := range b {
		if err := c.Send(b[i : i+1]); err != nil {
			return err
		}
		if err := WaitTaken(c); err != nil {
			return err
		}
	}
	return nil
}

// ReadFrame reads one frame. The error is a ViolationError if the frame is one
// that a server must not send, and io.EOF if the server ended the stream
// properly between two frames.
func (c *Conn) ReadFrame() (Frame, error) {
	if err := c.tcp.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
		return Frame{}, err
	}
	return parseFrame(c.in)
}

// ReadMessage reads up to the end of the next message. Pings and closes on the
// way are answered unless the connection is mute; a close is a *CloseError.
func (c *Conn) ReadMessage() (op byte, payload []byte, err error) {
	open := false // a message has begun
	for {
		f, err := c.ReadFrame()
		if err != nil {
			return 0, nil, err
		}
		switch f.Op {
		case OpPing:
			if !c.Mute {
				if err := c.SendFrames(Data(OpPong, f.Payload)); err != nil {
					return 0, nil, err
				}
			}
			continue
		case OpPong:
			continue
		case OpClose:
			return 0, nil, c.closed(f)
		case OpContinuation:
			if !open {
				return 0, nil, ViolationError("continuation of nothing")
			}
		default:
			if open {
				return 0, nil, ViolationError("message inside a message")
			}
			op, open = f.Op, true
		}
		payload = append(payload, f.Payload...)
		if !f.Fin {
			continue
		}
		if op == OpText && !utf8.Valid(payload) {
			return 0, nil, ViolationError("text that is not UTF-8")
		}
		return op, payload, nil
	}
}

// closed judges a close frame, answers it and returns it as an error.
func (c *Conn) closed(f Frame) error {
	ce, err := ParseClose(f.Payload)
	if err != nil {
		return err
	}
	if !c.Mute {
		// The server may be gone already: what counts is that it told why.
		_ = c.SendFrames(Data(OpClose, f.Payload))
	}
	return ce
}

// ParseClose reads a close frame's payload by RFC 6455 section 5.5.1.
func ParseClose(p []byte) (*CloseError, error) {
	if len(p) == 0 {
		return &CloseError{Code: 1005}, nil
	}
	if len(p) == 1 || !utf8.Valid(p[2:]) {
		return nil, ViolationError(fmt.Sprintf("close payload %q", p))
	}
	code := int(binary.BigEndian.Uint16(p))
	if code < 1000 || code >= 5000 || code >= 1004 && code <= 1006 || code >= 1015 && code < 3000 {
		return nil, ViolationError(fmt.Sprintf("close code %d", code))
	}
	return &CloseError{Code: code, Reason: string(p[2:])}, nil
}

// ReadEnd reads until the server has ended the TCP connection and fails if any
// byte comes before. A reset counts as an end: it is what a server's close
// looks like if it had not read everything.
func (c *Conn) ReadEnd() error {
	f, err := c.ReadFrame()
	switch {
	case err == nil:
		return fmt.Errorf("frame with opcode %d and %d bytes where the connection should end", f.Op, len(f.Payload))
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return nil
	default:
		return err
	}
}

// Discard reads and forgets everything until the server ends the connection.
// Each read must bring something within the timeout.
func (c *Conn) Discard() error {
	buf := make([]byte, 64<<10)
	for {
		if err := c.tcp.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
			return err
		}
		_, err := c.in.Read(buf)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
			return nil
		case err != nil:
			return err
		}
	}
}

// LocalAddr is the client's own address, "host:port".
func (c *Conn) LocalAddr() string { return c.tcp.LocalAddr().String() }

// CloseWrite ends the client's half of the stream (FIN) and keeps reading.
func (c *Conn) CloseWrite() error { return c.tcp.CloseWrite() }

// Reset ends the connection with a RST, as a crashed peer does.
func (c *Conn) Reset() error {
	if err := c.tcp.SetLinger(0); err != nil {
		return err
	}
	return c.tcp.Close()
}

// Close ends the TCP connection without a closing handshake. Again is harmless.
func (c *Conn) Close() error { return c.tcp.Close() }
