package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// client is one connection of a swarm: a descriptor and, only while a frame or
// an answer has come in part, its beginning.
type client struct {
	fd    int32
	state clientState
	tries uint8 // handshakes that failed
	since int64 // when the first of them began, on the bench's clock
	part  []byte
}

type clientState uint8

const (
	clientConnecting  clientState = iota // waits for connect
	clientHandshaking                    // has sent its request
	clientOpen
	clientClosed
)

const (
	// The key of RFC 6455 section 1.3 and its answer: a server has to compute
	// it, and one for all is cheap for us.
	handshakeKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	handshakeAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

	// maxAnswer bounds the answer to a handshake, in bytes.
	maxAnswer = 16 << 10

	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// errPartial says that more bytes are needed.
var errPartial = errors.New("incomplete")

// tokenOf is the token of a swarm's i-th client.
func tokenOf(i int) string { return fmt.Sprintf("USER_%d", i) }

// handshakeRequest is the opening request of client i (RFC 6455
// section 4.1).
func handshakeRequest(dst []byte, path, host string, i int) []byte {
	return fmt.Appendf(dst, "GET %s?token=%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n", path, tokenOf(i), host, handshakeKey)
}

// readAnswer judges the server's answer to a handshake and returns its length.
func readAnswer(p []byte) (n int, err error) {
	end := bytes.Index(p, []byte("\r\n\r\n"))
	if end < 0 {
		if len(p) > maxAnswer {
			return 0, errors.New("the answer to the handshake does not end")
		}
		return 0, errPartial
	}
	head := p[:end]
	status, _, _ := bytes.Cut(head, []byte("\r\n"))
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 101")) {
		return 0, fmt.Errorf("the handshake was answered with %.80q, %.200q", status, p[end+4:])
	}
	if !bytes.Contains(head, []byte(handshakeAccept)) {
		return 0, errors.New("the answer to the handshake has no or a wrong Sec-WebSocket-Accept")
	}
	return end + 4, nil
}

// frame is one frame from the server.
type frame struct {
	op      byte
	payload []byte
	size    int // with header
}

// readFrame takes the frame that p begins with (RFC 6455 section 5.2).
func readFrame(p []byte) (frame, error) {
	if len(p) < 2 {
		return frame{}, errPartial
	}
	if p[0]&0xf0 != 0x80 {
		return frame{}, fmt.Errorf("a frame that begins with %#x: fragments and extensions were not asked for", p[0])
	}
	if p[1]&0x80 != 0 {
		return frame{}, errors.New("a masked frame from the server")
	}
	head, n := 2, uint64(p[1])
	switch n {
	case 126:
		if len(p) < 4 {
			return frame{}, errPartial
		}
		head, n = 4, uint64(binary.BigEndian.Uint16(p[2:]))
	case 127:
		if len(p) < 10 {
			return frame{}, errPartial
		}
		head, n = 10, binary.BigEndian.Uint64(p[2:])
		if n > 1<<30 {
			return frame{}, fmt.Errorf("a frame of %d bytes", n)
		}
	}
	if uint64(len(p)-head) < n {
		return frame{}, errPartial
	}
	return frame{op: p[0] & 0x0f, payload: p[head : head+int(n)], size: head + int(n)}, nil
}

// textFrame is a whole, unmasked text frame of a payload below 64 KiB.
func textFrame(payload []byte) []byte { return appendTextFrame(nil, payload) }

func appendTextFrame(f, payload []byte) []byte {
	f = append(f, 0x80|opText)
	if len(payload) < 126 {
		f = append(f, byte(len(payload)))
	} else {
		f = binary.BigEndian.AppendUint16(append(f, 126), uint16(len(payload)))
	}
	return append(f, payload...)
}

// pong answers a ping, with an all-zero mask.
func (c *client) pong(payload []byte) {
	p := append([]byte{0x80 | opPong, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...)
	_, _ = send(int(c.fd), p) // a server that is gone shows in the next read
}

// drop closes the socket with a reset, so that no port stays in TIME_WAIT.
func (c *client) drop() {
	if c.fd < 0 {
		return
	}
	_ = unix.SetsockoptLinger(int(c.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	_ = unix.Close(int(c.fd))
	c.fd, c.part, c.state = -1, nil, clientClosed
}

// closeReason is the text of a close frame (RFC 6455 section 5.5.1).
func closeReason(payload []byte) string {
	if len(payload) < 2 {
		return "a close frame without a code"
	}
	return fmt.Sprintf("close %d %q", binary.BigEndian.Uint16(payload), payload[2:])
}
