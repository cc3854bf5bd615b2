package api

import (
	"strconv"

	"gorelay/engine"
)

// The parts of a message to a client between its values.
const (
	envelopeEvent   = `{"event":`
	envelopeSubject = `,"data":{"subject":`
	envelopeTime    = `,"ts":`
	envelopeToken   = `,"token":`
	envelopeID      = `,"id":"`
	envelopeQuote   = `"`
	envelopeEnd     = `}}`
	envelopeNull    = `null`
)

const (
	// stampDigits is the width of ts: milliseconds since the epoch have 13
	// digits from September 2001 to November 2286.
	stampDigits = 13

	// The least and the largest ts of that width: a clock that is set outside
	// them must not change the length of a frame or make a number with a
	// leading zero, which is not JSON.
	minStamp = 1_000_000_000_000
	maxStamp = 9_999_999_999_999
)

// encode makes the frame that every client of the push gets, with ms as its
// time. stamp is the place of ts in the payload: stampDigits bytes that a
// delayed push overwrites when it fires. The frame holds a copy of what it
// needs, in one allocation of exactly its size.
func encode(p *push, ms int64) (f engine.Frame, stamp int) {
	token := len(p.token)
	if p.token == nil {
		token = len(envelopeNull)
	}
	size := engine.FrameHeadroom +
		len(envelopeEvent) + len(p.event) +
		len(envelopeSubject) + len(p.subject) +
		len(envelopeTime) + stampDigits +
		len(envelopeToken) + token + len(envelopeEnd)
	if p.includeID {
		size += len(envelopeID) + idLength + len(envelopeQuote)
	}

	buf := make([]byte, engine.FrameHeadroom, size)
	buf = append(buf, envelopeEvent...)
	buf = append(buf, p.event...)
	buf = append(buf, envelopeSubject...)
	buf = append(buf, p.subject...)
	buf = append(buf, envelopeTime...)
	stamp = len(buf) - engine.FrameHeadroom
	buf = strconv.AppendInt(buf, min(max(ms, minStamp), maxStamp), 10)
	buf = append(buf, envelopeToken...)
	if p.token == nil {
		buf = append(buf, envelopeNull...)
	} else {
		buf = append(buf, p.token...)
	}
	if p.includeID {
		buf = append(buf, envelopeID...)
		buf = append(buf, p.idText...)
		buf = append(buf, envelopeQuote...)
	}
	buf = append(buf, envelopeEnd...)
	return engine.TextFrame(buf), stamp
}
