package engine

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"
	"unsafe"
)

// Delayed is a message that waits for its time.
type Delayed struct {
	Key     uint64    // names it: from NewKey
	Created time.Time // when it was accepted; kept to the millisecond
	Due     time.Time // when it goes out, reckoned from Now; kept to the millisecond, rounded up
	Tokens  []string  // who gets it, of those who are open then; none: everybody
	List    bool      // Tokens were given as a list; several always count as one

	Frame Frame
	// Stamp is the offset in the frame's payload of 13 digits that are
	// overwritten with the time of sending, in milliseconds since the epoch;
	// -1 for none.
	Stamp int
}

// packed is a delayed message in one piece, as it lies in memory and on disk:
//
//	created, due   8 bytes each   milliseconds since the epoch
//	key            8 bytes
//	stamp          4 bytes        the digits' distance from the end, or -1
//	tokens         4 bytes        how many; a list of one is oneListed
//	               4 bytes + n    each: its length, the token
//	frame          the rest       header and payload
//
// Numbers are big endian. It is a string because a token that is read out of
// it is a part of it.
type packed string

const packedHead = 8 + 8 + 8 + 4 + 4

// oneListed stands for one token that was given as a list.
const oneListed = 1<<31 | 1

// stampDigits is the length of a time in milliseconds since the epoch, until
// the year 2286.
const stampDigits = 13

// appendPacked appends m in one piece.
func appendPacked(dst []byte, m *Delayed) []byte {
	stamp := -1
	if m.Stamp >= 0 {
		stamp = m.Frame.payloadLen() - m.Stamp // from the end: the header's length varies
	}
	dst = appendPackedHead(dst, m.Created.UnixMilli(), ceilMilli(m.Due), m.Key, stamp, len(m.Tokens), m.List)
	for _, token := range m.Tokens {
		dst = appendPackedToken(dst, token)
	}
	return append(dst, m.Frame.wire...)
}

func appendPackedHead(dst []byte, created, due int64, key uint64, stamp, tokens int, listed bool) []byte {
	count := uint32(tokens)
	if count == 1 && listed {
		count = oneListed
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(created))
	dst = binary.BigEndian.AppendUint64(dst, uint64(due))
	dst = binary.BigEndian.AppendUint64(dst, key)
	dst = binary.BigEndian.AppendUint32(dst, uint32(stamp))
	return binary.BigEndian.AppendUint32(dst, count)
}

func appendPackedToken[T string | []byte](dst []byte, token T) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(token))), token...)
}

// packedFrom is b as a message, without a copy. b is not written again.
func packedFrom(b []byte) packed { return packed(unsafe.String(unsafe.SliceData(b), len(b))) }

// packedLen is the length of what appendPacked appends.
func packedLen(m *Delayed) int {
	n := packedHead + len(m.Frame.wire)
	for _, token := range m.Tokens {
		n += 4 + len(token)
	}
	return n
}

// ceilMilli is t in milliseconds since the epoch; never earlier than t.
func ceilMilli(t time.Time) int64 {
	ms := t.UnixMilli()
	if t.Nanosecond()%int(time.Millisecond) > 0 {
		ms++
	}
	return ms
}

func (p packed) created() int64 { return int64(p.uint64(0)) }
func (p packed) due() int64     { return int64(p.uint64(8)) }
func (p packed) key() uint64    { return p.uint64(16) }
func (p packed) stamp() int     { return int(int32(p.uint32(24))) }
func (p packed) isListed() bool { return p.uint32(28) > 1 }

// count is how many tokens it has.
func (p packed) count() int {
	if n := p.uint32(28); n != oneListed {
		return int(n)
	}
	return 1
}

func (p packed) uint64(i int) uint64 { return uint64(p.uint32(i))<<32 | uint64(p.uint32(i+4)) }

func (p packed) uint32(i int) uint32 {
	return uint32(p[i])<<24 | uint32(p[i+1])<<16 | uint32(p[i+2])<<8 | uint32(p[i+3])
}

// check reports what is wrong with a message that comes from a disk.
func (p packed) check() error {
	if len(p) < packedHead {
		return fmt.Errorf("engine: a stored message of %d bytes", len(p))
	}
	at := packedHead
	for range p.count() {
		if len(p)-at < 4 || len(p)-at-4 < int(p.uint32(at)) {
			return fmt.Errorf("engine: a stored message of %d bytes with %d tokens", len(p), p.count())
		}
		at += 4 + int(p.uint32(at))
	}
	if stamp := p.stamp(); stamp >= 0 && (stamp < stampDigits || stamp > len(p)-at) {
		return fmt.Errorf("engine: a stored message with its time at %d", stamp)
	}
	return nil
}

// token is the first token of a message that has one.
func (p packed) token() string {
	n := int(p.uint32(packedHead))
	return string(p[packedHead+4 : packedHead+4+n])
}

// tokens returns who gets the message, appended to dst, and where the frame
// starts.
func (p packed) tokens(dst []string) (tokens []string, frame int) {
	at := packedHead
	for range p.count() {
		n := int(p.uint32(at))
		dst = append(dst, string(p[at+4:at+4+n]))
		at += 4 + n
	}
	return dst, at
}

// tag is Engine.tagOf of its tokens.
func (p packed) tag(e *Engine) uint32 {
	tokens, _ := p.tokens(nil)
	return e.tagOf(tokens)
}

// wire returns the frame, which starts at frame, with the time of sending in
// its place. It is written into p, which must be the caller's own.
func (p packed) wire(frame int, now time.Time) []byte {
	wire := unsafe.Slice(unsafe.StringData(string(p)), len(p))[frame:]
	if stamp := p.stamp(); stamp >= 0 {
		stampTime(wire[len(wire)-stamp:], now)
	}
	return wire
}

// message is what a caller may know of a message that waits. It is no part of p.
func (p packed) message() Delayed {
	m := Delayed{Key: p.key(), Created: time.UnixMilli(p.created()), Due: time.UnixMilli(p.due()), List: p.isListed(), Stamp: -1}
	m.Tokens, _ = p.tokens(nil)
	for i := range m.Tokens {
		m.Tokens[i] = strings.Clone(m.Tokens[i])
	}
	return m
}

// stampTime writes t over the 13 digits at the start of p, in milliseconds
// since the epoch.
func stampTime(p []byte, t time.Time) {
	ms := t.UnixMilli()
	for i := stampDigits - 1; i >= 0; i-- {
		p[i] = byte('0' + ms%10)
		ms /= 10
	}
}
