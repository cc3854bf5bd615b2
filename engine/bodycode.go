package engine

import (
	"encoding/binary"

	"github.com/gobwas/ws"
)

// In memory a delayed message is kept shorter than its packed form: its key and
// its times as differences, and numbers as varints (encoding/binary):
//
//	length    of what follows
//	key       difference from the origin's, as varints have signs
//	created   difference from the origin's time, so too
//	due       difference from created, so too
//	stamp     the digits' distance from the end plus one, or 0
//	tokens    four times how many; two more for a single one that was given as a
//	          list, one more if the frame is without its header
//	          each: its length, the token
//	frame     the rest; of a text frame (RFC 6455 section 5.2) without its header,
//	          which follows from its length
//
// Beside payload and tokens that is 14 to 18 bytes for most, where the packed form
// has 40.

// bodyOrigin is what keys and times are reckoned from: those of the engine's
// beginning, so that the differences are small. It does not change while there
// are messages.
type bodyOrigin struct {
	key uint64
	ms  int64 // since the epoch
}

// bodyParts is a short message, read.
type bodyParts struct {
	key          uint64
	created, due int64
	stamp        int
	count        int
	listed       bool
	headless     bool   // the frame is without its header
	rest         []byte // tokens and frame
}

const (
	bodyHeadless = 1 << iota
	bodyListed
	bodyTokens // one token
)

// append appends the short form of p.
func (o bodyOrigin) append(dst []byte, p packed) []byte {
	var head [5 * binary.MaxVarintLen64]byte
	h := binary.AppendVarint(head[:0], int64(p.key()-o.key))
	h = binary.AppendVarint(h, p.created()-o.ms)
	h = binary.AppendVarint(h, p.due()-p.created())
	h = binary.AppendUvarint(h, uint64(p.stamp()+1))
	tokens := uint64(p.count()) * bodyTokens
	if p.count() == 1 && p.isListed() {
		tokens |= bodyListed
	}
	n, at := 0, packedHead
	for range p.count() {
		size := int(p.uint32(at))
		n += uvarintLen(uint64(size)) + size
		at += 4 + size
	}
	frame, headless := withoutHeader(p[at:])
	if headless {
		tokens |= bodyHeadless
	}
	h = binary.AppendUvarint(h, tokens)

	dst = append(binary.AppendUvarint(dst, uint64(len(h)+n+len(frame))), h...)
	at = packedHead
	for range p.count() {
		size := int(p.uint32(at))
		at += 4
		dst = append(binary.AppendUvarint(dst, uint64(size)), p[at:at+size]...)
		at += size
	}
	return append(dst, frame...)
}

// read reads a short message.
func (o bodyOrigin) read(short []byte) bodyParts {
	_, n := binary.Uvarint(short)
	short = short[n:]
	next := func() uint64 {
		x, n := binary.Uvarint(short)
		short = short[n:]
		return x
	}
	m := bodyParts{key: o.key + uint64(unzigzag(next())), created: o.ms + unzigzag(next())}
	m.due = m.created + unzigzag(next())
	m.stamp = int(next()) - 1
	tokens := next()
	m.count = int(tokens / bodyTokens)
	m.listed = m.count > 1 || tokens&bodyListed != 0
	m.headless = tokens&bodyHeadless != 0
	m.rest = short
	return m
}

// packedLen is the length of what appendPacked appends.
func (m bodyParts) packedLen() int {
	n, frame := packedHead, m.rest
	for range m.count {
		size, head := binary.Uvarint(frame)
		n += 4 + int(size)
		frame = frame[head+int(size):]
	}
	if m.headless {
		n += headerLen(len(frame))
	}
	return n + len(frame)
}

// appendPacked appends the message in its packed form.
func (m bodyParts) appendPacked(dst []byte) []byte {
	dst, frame := m.appendFrameless(dst)
	if m.headless {
		dst = appendHeader(dst, ws.OpText, len(frame))
	}
	return append(dst, frame...)
}

// appendFrameless appends the packed form up to the frame, which it returns as it
// lies in memory.
func (m bodyParts) appendFrameless(dst []byte) (packed, frame []byte) {
	dst = appendPackedHead(dst, m.created, m.due, m.key, m.stamp, m.count, m.listed)
	frame = m.rest
	for range m.count {
		size, head := binary.Uvarint(frame)
		dst = appendPackedToken(dst, frame[head:head+int(size)])
		frame = frame[head+int(size):]
	}
	return dst, frame
}

// withoutHeader returns the payload of a text frame. It reports false, and returns
// the frame, if the header is not the one that appendHeader makes.
func withoutHeader(frame packed) (rest packed, ok bool) {
	for _, size := range [...]int{2, 4, FrameHeadroom} {
		n := len(frame) - size
		if n < 0 || headerLen(n) != size {
			continue
		}
		var header [FrameHeadroom]byte
		if string(appendHeader(header[:0], ws.OpText, n)) == string(frame[:size]) {
			return frame[size:], true
		}
	}
	return frame, false
}

// unzigzag is the number that AppendVarint has written as x.
func unzigzag(x uint64) int64 { return int64(x>>1) ^ -int64(x&1) }

// uvarintLen is the length of what AppendUvarint appends.
func uvarintLen(x uint64) int {
	n := 1
	for ; x >= 1<<7; x >>= 7 {
		n++
	}
	return n
}
