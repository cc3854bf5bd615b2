package api

import (
	"net/http"
	"strings"
	"sync"

	"gorelay/engine"

	"github.com/gobwas/ws"
)

// tokenQuery is the member of a handshake's query that names the token.
const tokenQuery = "token"

// keptReply is the largest reply buffer that is kept for another message.
const keptReply = 4 << 10

// Clients is the relay's side of the conversation with WebSocket clients. It
// is safe for concurrent use.
type Clients struct {
	path    string
	origins []string  // allowed pages, nil for all of them
	replies sync.Pool // of *[]byte
}

var _ engine.Handler = (*Clients)(nil)

// NewClients returns the handler for an engine.
func NewClients(o Options) *Clients {
	c := &Clients{path: o.WSPath, origins: allowedOrigins(o.AllowedOrigins)}
	c.replies.New = func() any { return new([]byte) }
	return c
}

// Claims reports whether the target's path is exactly the WebSocket path.
func (c *Clients) Claims(target []byte) bool {
	path, _ := splitTarget(target)
	return string(path) == c.path
}

// Open refuses pages of other origins with 403 (RFC 6455 section 10.2) and
// returns the first token of the query, "" if it is missing, not well encoded,
// empty or longer than MaxTokenBytes.
func (c *Clients) Open(r *engine.Request) (token string, err error) {
	if !c.allows(r.Origin) {
		return "", &engine.Refusal{Status: http.StatusForbidden, Reason: "origin not allowed"}
	}
	_, query := splitTarget(r.Target)
	if token = queryValue(query, tokenQuery); !usableToken(token) {
		return "", nil
	}
	return token, nil
}

// Message answers a ping, obeys an identify and ignores everything else.
func (c *Clients) Message(peer *engine.Conn, op ws.OpCode, payload []byte) {
	if op != ws.OpText {
		return
	}
	m := readMessage(payload)
	switch m.kind {
	case messagePing:
		buf := c.replies.Get().(*[]byte)
		*buf = appendPong((*buf)[:0], m.value)
		peer.Reply(ws.OpText, *buf)
		if cap(*buf) <= keptReply {
			c.replies.Put(buf)
		}
	case messageIdentify:
		if token, err := userID(m.value); err == nil && usableToken(token) {
			peer.Identify(token)
		}
	}
}

// allows reports whether a handshake with this Origin header may go on.
func (c *Clients) allows(origin []byte) bool {
	if c.origins == nil || len(origin) == 0 {
		return true
	}
	for _, allowed := range c.origins {
		if strings.EqualFold(allowed, string(origin)) {
			return true
		}
	}
	return false
}

// allowedOrigins returns the list to compare with, nil if all are allowed.
func allowedOrigins(list []string) []string {
	var origins []string
	for _, entry := range list {
		if entry == "*" {
			return nil
		}
		// An origin has no path; a slash at its end is a slip of the hand.
		origins = append(origins, strings.TrimSuffix(entry, "/"))
	}
	return origins
}
