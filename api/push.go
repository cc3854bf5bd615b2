package api

import (
	"errors"
	"math"
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

	user   string   // who gets it, by the token rule; "" is everyone
	tokens []string // who gets it instead, each once; nil if tokens was not given

	delay     int64  // delay_seconds as sent; at once if not positive
	deliverAt int64  // in milliseconds since the epoch; noTime if not given
	includeID bool   // the message carries the id
	broadcast []byte // raw, nil if there is none; see settle

	due int64 // when it goes out, as deliverAt; noTime is at once. Set by settle

	// Set when the push is accepted.
	id     pushID
	idText []byte
}

// noTime is the absence of a time in milliseconds since the epoch.
const noTime = math.MinInt64

// pushFields are the members of a push's body, in the order of the constants.
var pushFields = [...]string{
	"event_name", "subject", "delay_seconds", "token",
	"deliver_at", "include_id", "tokens", "broadcast",
}

const (
	fieldEvent = iota
	fieldSubject
	fieldDelay
	fieldToken
	fieldDeliverAt
	fieldIncludeID
	fieldTokens
	fieldBroadcast
)

// pushValues are the raw values of pushFields, nil where there is none.
type pushValues [len(pushFields)][]byte

// readPush reads and judges the body of a push. The push refers to body. What
// it returns as a refusal is for the publisher to read.
func readPush(body []byte, maxDelay time.Duration) (push, *refusal) {
	var values pushValues
	if refused := readBodyObject(body, maxDepth, pushFields[:], values[:]); refused != nil {
		return push{}, refused
	}
	return judgePush(&values, maxDelay)
}

// readBodyObject is readObject for a body: it checks UTF-8 as well.
func readBodyObject(body []byte, depth int, names []string, values [][]byte) *refusal {
	// A frame of text that is not UTF-8 makes every browser close
	// (RFC 6455 section 8.1), so it must not get in.
	if !utf8.Valid(body) {
		return refusedJSON
	}
	return refusalOfObject(readObjectWithin(body, depth, names, values))
}

// refusalOfObject turns an error of reading an object into an answer.
func refusalOfObject(err error) *refusal {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errTooDeep):
		return refusedDepth
	}
	return refusedJSON
}

// judgePush judges the fields of a push.
func judgePush(values *pushValues, maxDelay time.Duration) (push, *refusal) {
	p := push{
		event: values[fieldEvent], subject: values[fieldSubject], token: values[fieldToken],
		broadcast: values[fieldBroadcast], deliverAt: noTime, due: noTime,
	}
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
	if raw := values[fieldDeliverAt]; isGiven(raw) {
		if isGiven(values[fieldDelay]) {
			return push{}, badField("deliver_at and delay_seconds must not both be given")
		}
		if p.deliverAt, refused = readInteger("deliver_at", raw); refused != nil {
			return push{}, refused
		}
	}
	if raw := values[fieldIncludeID]; isGiven(raw) {
		if p.includeID, refused = readBool("include_id", raw); refused != nil {
			return push{}, refused
		}
	}
	var err error
	if p.user, err = userID(p.token); err != nil {
		return push{}, badField("token must be a number that can be written out: its exponent is too large")
	}
	if raw := values[fieldTokens]; isGiven(raw) {
		if isGiven(p.token) {
			return push{}, badField("token and tokens must not both be given")
		}
		if p.tokens, refused = readTokens(raw); refused != nil {
			return push{}, refused
		}
		p.tokens = distinct(p.tokens)
	}
	return p, nil
}

// settle judges what depends on the time of acceptance and on the settings,
// and decides when the push goes out. A time that has passed is at once.
func (p *push) settle(now time.Time, o *Options) *refusal {
	ms := now.UnixMilli()
	switch {
	case p.delay > 0:
		// Rounded up: never early.
		p.due = now.Add(time.Millisecond-1).UnixMilli() + p.delay*1000
	case p.deliverAt > ms:
		if p.deliverAt > ms+o.MaxDelay.Milliseconds() {
			return badField("deliver_at must be at most " + strconv.FormatInt(int64(o.MaxDelay/time.Second), 10) + " seconds ahead")
		}
		p.due = p.deliverAt
	}
	if !o.RequireExplicitBroadcast {
		return nil // broadcast is a field like any that we do not know
	}
	explicit := false
	if isGiven(p.broadcast) {
		var refused *refusal
		if explicit, refused = readBool("broadcast", p.broadcast); refused != nil {
			return refused
		}
	}
	switch {
	case p.forEveryone() && !explicit:
		return badField("token is missing or names nobody: to reach everyone, say \"broadcast\": true")
	case !p.forEveryone() && explicit:
		return badField("broadcast must not be true where token or tokens name somebody")
	}
	return nil
}

// forEveryone reports whether the push is a broadcast.
func (p *push) forEveryone() bool { return p.user == "" && p.tokens == nil }

// isGiven reports whether there is a raw value that is not null.
func isGiven(raw []byte) bool { return raw != nil && string(raw) != envelopeNull }

// readDelay reads the raw delay_seconds, nil if there is none.
func readDelay(raw []byte, maxDelay time.Duration) (int64, *refusal) {
	if !isGiven(raw) {
		return 0, nil
	}
	seconds, refused := readInteger("delay_seconds", raw)
	if refused != nil {
		return 0, refused
	}
	if limit := int64(maxDelay / time.Second); seconds > limit {
		return 0, badField("delay_seconds must be at most " + strconv.FormatInt(limit, 10))
	}
	return seconds, nil
}

// readInteger reads the raw value of a field that must be a whole number.
func readInteger(name string, raw []byte) (int64, *refusal) {
	if !isNumber(raw) {
		return 0, badField(name + " must be an integer")
	}
	n, ok := integer(raw)
	if !ok {
		return 0, badField(name + " must be an integer (without a large exponent)")
	}
	return n, nil
}

// readBool reads the raw value of a field that must be true or false.
func readBool(name string, raw []byte) (bool, *refusal) {
	switch string(raw) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, badField(name + " must be true or false")
}
