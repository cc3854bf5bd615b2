package wsclient

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// Opcodes of RFC 6455 section 5.2.
const (
	OpContinuation byte = 0x0
	OpText         byte = 0x1
	OpBinary       byte = 0x2
	OpClose        byte = 0x8
	OpPing         byte = 0x9
	OpPong         byte = 0xa
)

// maxPayload bounds what the client takes from a server in one frame, in
// bytes: a broken length must not make the test allocate without end.
const maxPayload = 64 << 20

// LengthForm is how a frame's header tells its payload length.
type LengthForm byte

// The forms of RFC 6455 section 5.2.
const (
	Shortest LengthForm = iota // the legal one, with the true length
	Form7                      // 7 bits
	Form16                     // 126 and 16 bits
	Form64                     // 127 and 64 bits
)

// Frame is one frame, field by field. The zero value of Form gives a truthful
// header; the constructors below give legal frames to change.
type Frame struct {
	Fin     bool
	RSV     byte // three bits, RSV1 is 4
	Op      byte // four bits
	Masked  bool
	Mask    [4]byte
	Payload []byte // in the clear

	Form     LengthForm
	Declared uint64 // the length that the header tells unless Form is Shortest
}

// clientMask is the masking key of the constructors: RFC 6455 section 5.7.
var clientMask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// Data returns a final masked frame.
func Data(op byte, payload []byte) Frame {
	return Frame{Fin: true, Op: op, Masked: true, Mask: clientMask, Payload: payload}
}

// Text returns a final masked text frame.
func Text(s string) Frame { return Data(OpText, []byte(s)) }

// Part returns a masked frame that is not final.
func Part(op byte, payload []byte) Frame {
	f := Data(op, payload)
	f.Fin = false
	return f
}

// CloseFrame returns a masked close frame with a code and a reason.
func CloseFrame(code int, reason string) Frame {
	return Data(OpClose, append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...))
}

// Append appends the frame's bytes on the wire to dst.
func (f Frame) Append(dst []byte) []byte {
	first := f.RSV<<4&0x70 | f.Op&0x0f
	if f.Fin {
		first |= 0x80
	}
	form, n := f.Form, f.Declared
	if form == Shortest {
		n = uint64(len(f.Payload))
		form = shortestForm(n)
	}
	var maskBit byte
	if f.Masked {
		maskBit = 0x80
	}
	switch form {
	case Form7:
		dst = append(dst, first, maskBit|byte(n)&0x7f)
	case Form16:
		dst = binary.BigEndian.AppendUint16(append(dst, first, maskBit|126), uint16(n))
	case Form64:
		dst = binary.BigEndian.AppendUint64(append(dst, first, maskBit|127), n)
	}
	if !f.Masked {
		return append(dst, f.Payload...)
	}
	dst = append(dst, f.Mask[:]...)
	for i, b := range f.Payload {
		dst = append(dst, b^f.Mask[i%4])
	}
	return dst
}

// Bytes is the frame on the wire.
func (f Frame) Bytes() []byte { return f.Append(nil) }

// Join is several frames on the wire, one behind the other.
func Join(frames ...Frame) []byte {
	var wire []byte
	for _, f := range frames {
		wire = f.Append(wire)
	}
	return wire
}

func shortestForm(n uint64) LengthForm {
	switch {
	case n < 126:
		return Form7
	case n <= 0xffff:
		return Form16
	default:
		return Form64
	}
}

// ViolationError says what a server's frame did against RFC 6455.
type ViolationError string

func (e ViolationError) Error() string { return "server broke RFC 6455: " + string(e) }

// parseFrame reads one frame of a server and judges it. io.EOF means that the
// stream ended between two frames.
func parseFrame(in *bufio.Reader) (Frame, error) {
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return Frame{}, err
	}
	f := Frame{Fin: head[0]&0x80 != 0, RSV: head[0] >> 4 & 7, Op: head[0] & 0x0f, Masked: head[1]&0x80 != 0}
	n, form := uint64(head[1]&0x7f), Form7
	switch n {
	case 126:
		form = Form16
	case 127:
		form = Form64
	}
	if form != Form7 {
		var ext [8]byte
		at := map[LengthForm]int{Form16: 6, Form64: 0}[form]
		if _, err := io.ReadFull(in, ext[at:]); err != nil {
			return f, fmt.Errorf("read length: %w", err)
		}
		n = binary.BigEndian.Uint64(ext[:])
	}
	switch {
	case f.Masked:
		return f, ViolationError("masked frame")
	case f.RSV != 0:
		return f, ViolationError("reserved bit set")
	case f.Op > OpBinary && f.Op < OpClose || f.Op > OpPong:
		return f, ViolationError(fmt.Sprintf("reserved opcode %d", f.Op))
	case form != shortestForm(n):
		return f, ViolationError(fmt.Sprintf("length %d not in its shortest form", n))
	case f.Op >= OpClose && (n > 125 || !f.Fin):
		return f, ViolationError("control frame too long or not final")
	case n > maxPayload:
		return f, ViolationError(fmt.Sprintf("frame of %d bytes", n))
	}
	f.Payload = make([]byte, n)
	if _, err := io.ReadFull(in, f.Payload); err != nil {
		return f, fmt.Errorf("read payload: %w", err)
	}
	return f, nil
}
