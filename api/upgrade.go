package api

import (
	"bytes"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// Adopter takes a connection over whose next request is a WebSocket handshake.
// *engine.Engine is one. The engine sees the first request of a connection
// itself; later ones come here, because a proxy that keeps connections to the
// relay sends handshakes on those that have carried pushes.
type Adopter interface {
	// Adopt takes over c, a connection that Serve's listener yielded. read is
	// what was read of it, from the handshake's request line on.
	Adopt(c net.Conn, read []byte) error
}

// upgrade gives the connection of a handshake to the adopter, unanswered.
func (s *Server) upgrade(ctx *fasthttp.RequestCtx) {
	head := appendHead(nil, &ctx.Request.Header)
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(hijacked net.Conn) {
		c := unwrap(hijacked)
		if c == nil {
			return
		}
		if err := s.adopter.Adopt(c.Conn, append(head, buffered(hijacked)...)); err != nil {
			s.opts.Logger.Warn("cannot upgrade a connection that has served HTTP", "err", err)
		}
	})
}

// unwrap returns the connection that fasthttp has wrapped. That one wraps what
// the listener yielded.
func unwrap(hijacked net.Conn) *conn {
	wrapper, ok := hijacked.(interface{ UnsafeConn() net.Conn })
	if !ok {
		return nil
	}
	c, _ := wrapper.UnsafeConn().(*conn)
	return c
}

// appendHead appends the head of a request as it was sent, but for the case of
// its header names.
func appendHead(dst []byte, h *fasthttp.RequestHeader) []byte {
	dst = append(dst, h.Method()...)
	dst = append(dst, ' ')
	dst = append(dst, h.RequestURI()...)
	dst = append(dst, ' ')
	dst = append(dst, h.Protocol()...)
	dst = append(dst, "\r\n"...)
	dst = append(dst, h.RawHeaders()...)
	if !bytes.HasSuffix(dst, []byte("\r\n\r\n")) {
		dst = append(dst, "\r\n"...)
	}
	return dst
}

// buffered returns what fasthttp has read ahead. With a deadline in the past a
// read cannot touch the socket.
func buffered(c net.Conn) []byte {
	if c.SetReadDeadline(time.Unix(1, 0)) != nil {
		return nil
	}
	ahead := make([]byte, maxHeadBytes)
	n, _ := c.Read(ahead)
	return ahead[:n]
}
