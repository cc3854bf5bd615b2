// Package wsclient is a WebSocket client for tests. It puts on the wire what
// it is told to, legal or not, and reads strictly: whatever RFC 6455 forbids a
// server is an error. It shares no code with the server that it tests.
//
// Every operation ends within the connection's timeout. One goroutine may read
// while another writes.
package wsclient

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// DefaultTimeout bounds one read or one write where the Dialer gives no other
// time. It is long, because it only ends what would otherwise hang.
const DefaultTimeout = 20 * time.Second

// Key is the Sec-WebSocket-Key that Dial sends and Accept its answer: the
// example of RFC 6455 section 1.3.
const (
	Key    = "dGhlIHNhbXBsZSBub25jZQ=="
	Accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// Dialer says how to connect. Only Addr is required.
type Dialer struct {
	Addr       string        // "host:port"
	Source     string        // local address to connect from; "" is any
	Timeout    time.Duration // of each read and write; 0 is DefaultTimeout
	ReadBuffer int           // SO_RCVBUF in bytes, set before the connect; 0 is the kernel's
}

// Response is an HTTP answer, read whole.
type Response struct {
	Status int // 101 for an accepted handshake
	Header http.Header
	Body   []byte
	Close  bool // the server said that it closes the connection
}

// RefusedError is Dial's error for an answer other than 101.
type RefusedError struct{ Response *Response }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("handshake refused: %d %q", e.Response.Status, e.Response.Body)
}

// Handshake returns a correct opening handshake for target ("/ws?token=a")
// with extra header lines ("Origin: https://a.example") at its end.
func Handshake(target, host string, lines ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", target, host)
	fmt.Fprintf(&b, "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n", Key)
	for _, line := range lines {
		b.WriteString(line + "\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// AcceptFor computes the Sec-WebSocket-Accept of a key (RFC 6455 section 4.2.2).
func AcceptFor(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Dial opens a WebSocket. The error is a *RefusedError if the server answered
// otherwise than with 101.
func (d Dialer) Dial(target string, lines ...string) (*Conn, error) {
	c, err := d.DialRaw(Handshake(target, d.Addr, lines...))
	if err != nil {
		return nil, err
	}
	r, err := c.ReadResponse()
	if err != nil {
		c.Close()
		return nil, err
	}
	if err := c.upgraded(r, Accept); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// DialRaw connects and writes head as it is. Nothing is read.
func (d Dialer) DialRaw(head []byte) (*Conn, error) {
	timeout := d.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	nd := net.Dialer{Timeout: timeout, KeepAlive: -1}
	if d.Source != "" {
		nd.LocalAddr = &net.TCPAddr{IP: net.ParseIP(d.Source)}
	}
	if d.ReadBuffer > 0 {
		nd.Control = func(_, _ string, raw syscall.RawConn) (err error) {
			cerr := raw.Control(func(fd uintptr) {
				err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, d.ReadBuffer)
			})
			if cerr != nil {
				return cerr
			}
			return err
		}
	}
	nc, err := nd.DialContext(context.Background(), "tcp", d.Addr)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	c := &Conn{tcp: nc.(*net.TCPConn), in: bufio.NewReader(nc), timeout: timeout}
	if len(head) > 0 {
		if err := c.Send(head); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// ReadResponse reads one HTTP answer; for other answers than 101 the body too.
func (c *Conn) ReadResponse() (*Response, error) {
	if err := c.tcp.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
		return nil, err
	}
	r, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return nil, fmt.Errorf("read response: %w", err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	return &Response{Status: r.StatusCode, Header: r.Header, Body: body, Close: r.Close}, nil
}

// upgraded checks a 101 answer by RFC 6455 section 4.1, items 1 to 6, for a
// client that offered neither an extension nor a protocol.
func (c *Conn) upgraded(r *Response, accept string) error {
	h := r.Header
	switch {
	case r.Status != http.StatusSwitchingProtocols:
		return &RefusedError{r}
	case !strings.EqualFold(h.Get("Upgrade"), "websocket"):
		return fmt.Errorf("handshake: Upgrade is %q", h.Get("Upgrade"))
	case !strings.EqualFold(h.Get("Connection"), "upgrade"):
		return fmt.Errorf("handshake: Connection is %q", h.Get("Connection"))
	case h.Get("Sec-Websocket-Accept") != accept:
		return fmt.Errorf("handshake: Accept is %q", h.Get("Sec-Websocket-Accept"))
	case h.Get("Sec-Websocket-Extensions") != "" || h.Get("Sec-Websocket-Protocol") != "":
		return fmt.Errorf("handshake: negotiated what was not offered")
	}
	return nil
}
