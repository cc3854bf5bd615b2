package api

import (
	"errors"
	"strconv"
	"time"
	"unicode/utf8"
)

// push is a push that was read and found good. The slices are raw JSON, parts
// of the body.
type push struct {
	event   []byte // event_name: a string, not empty
	subject []byte // any JSON value
	token   []byte // any JSON value, nil if there is none
	user    string // who gets it, by the token rule; "" is everyone
	delay   int64  // delay_seconds as sent; at once if not positive
}

// pushFields are the members of a push's body, in the order of the constants.
var pushFields = [...]string{"event_name", "subject", "delay_seconds", "token"}

const (
	fieldEvent = iota
	fieldSubject
	fieldDelay
	fieldToken
)

// readPush reads and judges the body of a push. The push refers to body. What
// it returns as a refusal is for the publisher to read.
func readPush(body []byte, maxDelay time.Duration) (push, *refusal) {
	// A frame of text that is not UTF-8 makes every browser close
	// (RFC 6455 section 8.1), so it must not get in.
	if !utf8.Valid(body) {
		return push{}, refusedJSON
	}
	var values [len(pushFields)][]byte
	if err := readObject(body, pushFields[:], values[:]); err != nil {
		if errors.Is(err, errTooDeep) {
			return push{}, refusedDepth
		}
		return push{}, refusedJSON
	}
	p := push{event: values[fieldEvent], subject: values[fieldSubject], token: values[fieldToken]}
	switch {
	case p.event == nil:
		return push{}, badField("event_name is missing: it must be a string")
	case p.event[0] != '"':
		return push{}, badField("event_name must be a string")
	case len(p.event) == len(`""`):
		return push{}, badField("event_name must not be empty")
	case p.subject == nil:
		return push{}, badField("subject is missing: it must be a JSON value (null is one)")
	}
	var refused *refusal
	if p.delay, refused = readDelay(values[fieldDelay], maxDelay); refused != nil {
		return push{}, refused
	}
	var err error
	if p.user, err = userID(p.token); err != nil {
		return push{}, badField("token must be a number that can be written out: its exponent is too large")
	}
	return p, nil
}

// readDelay reads the raw delay_seconds, nil if there is none.
func readDelay(raw []byte, maxDelay time.Duration) (int64, *refusal) {
	if raw == nil || string(raw) == "null" {
		return 0, nil
	}
	if !isNumber(raw) {
		return 0, badField("delay_seconds must be an integer")
	}
	seconds, ok := integer(raw)
	if !ok {
		return 0, badField("delay_seconds must be an integer (without a large exponent)")
	}
	if limit := int64(maxDelay / time.Second); seconds > limit {
		return 0, badField("delay_seconds must be at most " + strconv.FormatInt(limit, 10))
	}
	return seconds, nil
}
