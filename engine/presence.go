package engine

import "github.com/gobwas/ws"

// Online is the number of connections that are open under token now.
func (e *Engine) Online(token string) int {
	var few [8]*Conn
	return len(e.matching(few[:0], token))
}

// Disconnect closes the connections that are open under token with this code
// (RFC 6455 section 7.4) and a reason of at most 123 bytes of UTF-8, and says
// how many those are. What was accepted for them before still goes out first.
func (e *Engine) Disconnect(token string, code uint16, reason string) (closed int) {
	for _, c := range e.matching(nil, token) {
		if c.endWith(CloseAsked, ws.StatusCode(code), reason) {
			closed++
		}
	}
	return closed
}
