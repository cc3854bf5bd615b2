package engine

import (
	"bytes"
	"io"
	"net"
	"syscall"
	"time"

	"gorelay/internal/wsclient"
)

// dialRaw opens a WebSocket under token and returns the socket with nothing
// read but the answer. receive is the SO_RCVBUF, 0 for the kernel's.
func (s *server) dialRaw(token string, receive int) net.Conn {
	s.t.Helper()
	c := s.connect(receive)
	target := "/ws"
	if token != "" {
		target += "?token=" + token
	}
	s.write(c, wsclient.Handshake(target, s.addr))
	var answer []byte
	for one := make([]byte, 1); !bytes.HasSuffix(answer, []byte("\r\n\r\n")); answer = append(answer, one...) {
		if _, err := io.ReadFull(c, one); err != nil {
			s.t.Fatalf("answer %q: %v", answer, err)
		}
	}
	if !bytes.HasPrefix(answer, []byte("HTTP/1.1 101 ")) {
		s.t.Fatalf("answer %q", answer)
	}
	return c
}

// connect opens a TCP connection to s that nothing is written to.
func (s *server) connect(receive int) net.Conn {
	s.t.Helper()
	d := net.Dialer{Timeout: patience}
	if receive > 0 {
		d.Control = func(_, _ string, raw syscall.RawConn) error {
			return raw.Control(func(fd uintptr) {
				// A failure shows: the socket never fills.
				_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, receive)
			})
		}
	}
	c, err := d.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (s *server) write(c net.Conn, p []byte) {
	s.t.Helper()
	if _, err := c.Write(p); err != nil {
		s.t.Fatal(err)
	}
}
