package engine

import "fmt"

// Refusal is an error of Handler.Open that becomes an HTTP answer.
type Refusal struct {
	Status int    // HTTP status, 4xx or 5xx
	Reason string // one line of text for the body
}

func (r *Refusal) Error() string { return r.Reason }

// refusedInternal is for a mistake of the handler's. It says nothing of the cause.
var refusedInternal = &Refusal{statusInternalServerError, "internal error"}

// The statuses that the engine itself refuses handshakes with (RFC 9110
// section 15, RFC 6585 section 5).
const (
	statusBadRequest                  = 400
	statusMethodNotAllowed            = 405
	statusUpgradeRequired             = 426
	statusRequestHeaderFieldsTooLarge = 431
	statusInternalServerError         = 500
	statusServiceUnavailable          = 503
	statusHTTPVersionNotSupported     = 505
)

// statusText is the reason phrase of a status line. Nobody may rely on it
// (RFC 9112 section 4), so the rare ones get none.
func statusText(status int) string {
	switch status {
	case statusBadRequest:
		return "Bad Request"
	case 401:
		return "Unauthorized"
	case 403:
		return "Forbidden"
	case statusMethodNotAllowed:
		return "Method Not Allowed"
	case statusUpgradeRequired:
		return "Upgrade Required"
	case statusRequestHeaderFieldsTooLarge:
		return "Request Header Fields Too Large"
	case statusInternalServerError:
		return "Internal Server Error"
	case statusServiceUnavailable:
		return "Service Unavailable"
	}
	return ""
}

// retryAfterSeconds is what a client that finds the relay full is asked to wait.
const retryAfterSeconds = 5

// wire encodes the refusal as an answer that ends its connection.
func (r *Refusal) wire() []byte {
	extra := ""
	switch r.Status {
	case statusUpgradeRequired: // RFC 6455 section 4.4
		extra = "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n"
	case statusMethodNotAllowed:
		extra = "Allow: GET\r\n"
	case statusServiceUnavailable:
		extra = fmt.Sprintf("Retry-After: %d\r\n", retryAfterSeconds)
	}
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\n%sContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s\n",
		r.Status, statusText(r.Status), extra, r.bodyLen(), r.Reason)
}

// bodyLen is the length of the body: the reason, and the end of its line.
func (r *Refusal) bodyLen() int { return len(r.Reason) + 1 }

// refuse answers a handshake with an error status and closes.
func (l *loop) refuse(c *Conn, r *Refusal) { l.refuseWith(c, r.wire()) }

// refuseWith sends a whole HTTP answer and closes.
func (l *loop) refuseWith(c *Conn, answer []byte) {
	delete(l.heads, c)
	c.mu.Lock()
	if c.state == stateHandshake {
		c.closeLocked(CloseHandshakeRefused, 0, "")
		c.deaf = true
		c.outbox().closing = answer
		l.writer.drain(c)
		l.writer.report()
	}
	c.mu.Unlock()
	l.endHandshake()
}
