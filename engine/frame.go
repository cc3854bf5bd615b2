package engine

import (
	"encoding/binary"

	"github.com/gobwas/ws"
)

// FrameHeadroom is the number of bytes that TextFrame needs free in front of
// the payload: the longest header of an unmasked frame (RFC 6455 section 5.2).
const FrameHeadroom = 10

// Frame is one encoded, final, unmasked frame: encoded once, never written
// again, shared by every connection it goes to. The zero Frame is empty.
type Frame struct {
	wire []byte // header and payload
}

// TextFrame encodes the text message buf[FrameHeadroom:] in place, without a
// copy: the header goes right in front of the payload, into the headroom. The
// payload must be valid UTF-8. buf belongs to the frame from then on. It
// panics if buf is shorter than FrameHeadroom.
func TextFrame(buf []byte) Frame {
	return Frame{wire: encodeInPlace(buf, ws.OpText)}
}

// Len is the frame's length on the wire in bytes, header included.
func (f Frame) Len() int { return len(f.wire) }

// payloadLen is the length of the frame's payload in bytes.
func (f Frame) payloadLen() int {
	switch f.wire[1] {
	case 126:
		return len(f.wire) - 4
	case 127:
		return len(f.wire) - 10
	}
	return len(f.wire) - 2
}

// encodeInPlace writes the header of a final frame into the headroom of buf
// and returns the slice from the header's first byte on.
func encodeInPlace(buf []byte, op ws.OpCode) []byte {
	var head [FrameHeadroom]byte
	h := appendHeader(head[:0], op, len(buf[FrameHeadroom:]))
	start := FrameHeadroom - len(h)
	copy(buf[start:], h)
	return buf[start:]
}

// appendHeader appends the header of a final, unmasked frame with n bytes of
// payload (RFC 6455 section 5.2: the shortest length form is required).
func appendHeader(dst []byte, op ws.OpCode, n int) []byte {
	const fin = 0x80
	dst = append(dst, fin|byte(op))
	switch {
	case n < 126:
		return append(dst, byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
}

// headerLen is the length of what appendHeader appends.
func headerLen(n int) int {
	switch {
	case n < 126:
		return 2
	case n <= 0xffff:
		return 4
	}
	return FrameHeadroom
}
