package engine

import "github.com/gobwas/ws"

// CloseReason says why a connection ended. It labels the counters, and it
// decides the close code that the peer is told (RFC 6455 section 7.4.1).
type CloseReason uint8

// The reasons, one line each on why.
const (
	closeNone CloseReason = iota // still open

	// Before the upgrade: the answer, if any, is an HTTP status.
	CloseHandshakeTimeout // the request head was not complete in time
	CloseHandshakeRefused // the handshake was answered with an error status
	CloseHandshakeDropped // too many handshakes under way, this was the oldest
	CloseHandshakeGone    // the peer left before its handshake was complete

	// The peer's doing.
	ClosePeer        // the peer sent a close frame
	CloseGone        // the peer's socket ended without a close frame
	CloseProtocol    // a frame broke RFC 6455
	CloseInvalidUTF8 // a text message or a close reason was not UTF-8
	CloseTooBig      // a message was longer than MaxMessageBytes
	CloseRate        // more messages, fragments and control frames a second than MaxMessageRate

	// A peer that does not keep up.
	CloseSlow     // more than MaxPendingBytes were waiting for the socket
	CloseStalled  // the socket took no byte for WriteTimeout
	CloseOverload // all connections together held too much: this one among the most, or asked for more
	CloseSilent   // nothing came within PongTimeout of a ping

	// Our doing.
	CloseStopping // the engine is shutting down
	CloseAsked    // Disconnect
	CloseInternal // a handler panicked

	numCloseReasons
)

// closeReasons is indexed by CloseReason.
var closeReasons = [numCloseReasons]struct {
	label string        // the name in counters
	code  ws.StatusCode // what the peer is told; 0 where there is nobody to tell
	text  string        // the close frame's reason text
}{
	closeNone:             {"open", 0, ""},
	CloseHandshakeTimeout: {"handshake_timeout", 0, ""},
	CloseHandshakeRefused: {"handshake_refused", 0, ""},
	CloseHandshakeDropped: {"handshake_dropped", 0, ""},
	CloseHandshakeGone:    {"handshake_gone", 0, ""},
	ClosePeer:             {"peer_closed", ws.StatusNormalClosure, ""},
	CloseGone:             {"peer_gone", 0, ""},
	CloseProtocol:         {"protocol_error", ws.StatusProtocolError, "protocol error"},
	CloseInvalidUTF8:      {"invalid_utf8", ws.StatusInvalidFramePayloadData, "invalid UTF-8"},
	CloseTooBig:           {"message_too_big", ws.StatusMessageTooBig, "message too big"},
	CloseRate:             {"rate_limit", ws.StatusPolicyViolation, "too many messages"},
	CloseSlow:             {"slow_consumer", ws.StatusPolicyViolation, "too slow: too many bytes waiting"},
	CloseStalled:          {"write_stalled", ws.StatusPolicyViolation, "too slow: nothing read"},
	CloseOverload:         {"overload", statusTryAgainLater, "relay overloaded"},
	CloseSilent:           {"pong_timeout", ws.StatusPolicyViolation, "no pong"},
	CloseStopping:         {"stopping", ws.StatusGoingAway, "relay is stopping"},
	CloseAsked:            {"disconnected", ws.StatusNormalClosure, ""},
	CloseInternal:         {"internal_error", ws.StatusInternalServerError, "internal error"},
}

// statusTryAgainLater is 1013, registered with IANA after RFC 6455.
const statusTryAgainLater ws.StatusCode = 1013

// settles reports whether what was accepted for a connection still goes out
// ahead of the close frame.
func (r CloseReason) settles() bool { return r == CloseStopping || r == CloseAsked }

// String is the reason's label in counters and logs.
func (r CloseReason) String() string { return closeReasons[r].label }

// ValidCloseCode reports whether an endpoint may send this code: those of RFC
// 6455 section 7.4.1 that may appear on the wire, 1012 to 1014 of the IANA
// registry, and the ranges for libraries and applications.
func ValidCloseCode(code ws.StatusCode) bool {
	switch {
	case code >= 1000 && code <= 1003,
		code >= 1007 && code <= 1014,
		code >= 3000 && code <= 4999:
		return true
	}
	return false
}
