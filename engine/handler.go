package engine

import "github.com/gobwas/ws"

// Handler is what an Engine serves: the relay's client protocol, an echo.
// Its methods run on the engine's loops, one call at a time for one
// connection and at the same time for connections of different loops. They
// must not block, and must not keep the byte slices they are given.
type Handler interface {
	// Claims reports whether a request with this target (path and query as
	// sent, RFC 9112 section 3.2) is a WebSocket handshake's. What is not
	// claimed goes to the HTTP listener.
	Claims(target []byte) bool

	// Open judges a well-formed handshake before it is answered. It returns
	// the token the connection starts under, "" for none. A *Refusal as the
	// error gives the status of the answer; any other error is a 500.
	Open(r *Request) (token string, err error)

	// Message takes one whole message: op is ws.OpText (the payload is valid
	// UTF-8) or ws.OpBinary. The handler may change the payload in place.
	Message(c *Conn, op ws.OpCode, payload []byte)
}

// Request is the part of an opening handshake that a Handler may judge by.
// The slices are valid during the call only.
type Request struct {
	Target []byte // path and query as sent
	Host   []byte // Host header
	Origin []byte // Origin header, nil if there is none (RFC 6455 section 10.2)
}
