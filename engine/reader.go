package engine

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// reader turns the bytes of a peer into messages and control frames (RFC 6455
// section 5), from whatever pieces they come in. It does no I/O: bytes are an
// argument. It holds memory only for bytes that have arrived, never for what
// a header merely announces, and a whole frame in one piece is handed out in
// place. The zero value is ready for the first frame.
//
// An idle connection has no reader at all: a loop lends its own to whoever
// has bytes, and the connection keeps it only while a frame or a fragmented
// message is incomplete.
type reader struct {
	head    [ws.MaxHeaderSize]byte // a header's bytes so far
	headLen uint8

	inFrame bool      // the header is complete, its payload is not
	fin     bool      // of the frame at hand
	op      ws.OpCode // of the frame at hand
	mask    [4]byte   // of the frame at hand
	maskPos int       // payload bytes of it already unmasked
	left    int       // payload bytes of it still to come

	control []byte     // payload of an incomplete control frame
	message []byte     // payload of an incomplete message, unmasked
	msgOp   ws.OpCode  // its opcode; OpContinuation (0) if none is open
	text    utf8Stream // its validity, if it is text
}

// inboundFrame is what a reader hands out: a whole message (OpText, OpBinary)
// or a control frame. The payload is unmasked and valid until the next call.
// A fragment that does not end its message has OpContinuation and no payload.
type inboundFrame struct {
	op      ws.OpCode
	payload []byte
	ok      bool // false: more bytes are needed
}

// frameError is a violation: the close code and nothing of the peer's bytes.
type frameError struct{ reason CloseReason }

func (e *frameError) Error() string { return "engine: inbound frame: " + e.reason.String() }

var (
	errProtocol = &frameError{CloseProtocol}
	errUTF8     = &frameError{CloseInvalidUTF8}
	errTooBig   = &frameError{CloseTooBig}
)

// held is how many bytes of an incomplete frame or message are kept.
func (r *reader) held() int { return len(r.message) + len(r.control) }

// idle reports whether nothing is incomplete.
func (r *reader) idle() bool { return r.headLen == 0 && !r.inFrame && r.msgOp == ws.OpContinuation }

// next takes bytes from data, unmasking in place, until a frame is complete or
// data is used up; n is how many it took. maxMessage bounds a message's
// payload. After an error the reader must not be used again.
func (r *reader) next(data []byte, maxMessage int) (f inboundFrame, n int, err *frameError) {
	if !r.inFrame {
		n, err = r.readHeader(data, maxMessage)
		if err != nil || !r.inFrame {
			return f, n, err
		}
	}
	chunk := data[n:]
	if len(chunk) > r.left {
		chunk = chunk[:r.left]
	}
	n += len(chunk)
	ws.Cipher(chunk, r.mask, r.maskPos)
	r.maskPos += len(chunk)
	r.left -= len(chunk)

	if r.op.IsControl() {
		f, err = r.readControl(chunk)
	} else {
		f, err = r.readData(chunk)
	}
	return f, n, err
}

// readControl takes the next piece of a control frame's payload.
func (r *reader) readControl(chunk []byte) (f inboundFrame, err *frameError) {
	if r.left > 0 || len(r.control) > 0 {
		r.control = append(r.control, chunk...)
		chunk = r.control
	}
	if r.left > 0 {
		return f, nil
	}
	r.inFrame, r.control = false, nil
	return inboundFrame{op: r.op, payload: chunk, ok: true}, nil
}

// readData takes the next piece of a data frame's payload.
func (r *reader) readData(chunk []byte) (f inboundFrame, err *frameError) {
	op := r.op
	if op == ws.OpContinuation {
		op = r.msgOp
	}
	end := r.left == 0
	r.inFrame = !end

	if end && r.fin && r.msgOp == ws.OpContinuation {
		// A whole message in one piece: the usual case, no copy.
		if op == ws.OpText && !utf8.Valid(chunk) {
			return f, errUTF8
		}
		return inboundFrame{op: op, payload: chunk, ok: true}, nil
	}

	if op == ws.OpText && !r.text.feed(chunk) {
		return f, errUTF8
	}
	r.msgOp = op
	r.message = append(r.message, chunk...)
	if !end || !r.fin {
		return inboundFrame{op: ws.OpContinuation, ok: end}, nil
	}
	if op == ws.OpText && !r.text.complete() {
		return f, errUTF8
	}
	f = inboundFrame{op: op, payload: r.message, ok: true}
	r.message, r.msgOp, r.text = nil, ws.OpContinuation, utf8Stream{}
	return f, nil
}

// readHeader collects and judges a header. It sets inFrame when the header is
// complete; n is the number of bytes taken.
func (r *reader) readHeader(data []byte, maxMessage int) (n int, err *frameError) {
	for {
		need := 2
		if r.headLen >= 2 {
			if err := r.checkStart(); err != nil {
				return n, err
			}
			need = headerSize(r.head[1])
		}
		if int(r.headLen) == need && need > 2 {
			break
		}
		k := copy(r.head[r.headLen:need], data[n:])
		if k == 0 {
			return n, nil
		}
		n += k
		r.headLen += uint8(k)
	}

	var length uint64
	h := r.head[2:]
	switch l := r.head[1] & 0x7f; l {
	case 126:
		length = uint64(binary.BigEndian.Uint16(h))
		h = h[2:]
		if length < 126 {
			return n, errProtocol // section 5.2: the shortest form is required
		}
	case 127:
		length = binary.BigEndian.Uint64(h)
		h = h[8:]
		if length <= 0xffff || length>>63 != 0 {
			return n, errProtocol
		}
	default:
		length = uint64(l)
	}
	if !r.op.IsControl() && length > uint64(maxMessage-len(r.message)) {
		return n, errTooBig
	}
	copy(r.mask[:], h[:4])
	r.headLen, r.maskPos, r.left, r.inFrame = 0, 0, int(length), true
	return n, nil
}

// headerSize is the length of a masked frame's header, told by its second
// byte (RFC 6455 section 5.2).
func headerSize(second byte) int {
	const masked = 2 + 4
	switch second & 0x7f {
	case 126:
		return masked + 2
	case 127:
		return masked + 8
	}
	return masked
}

// checkStart judges the first two bytes of a header as soon as they are there.
func (r *reader) checkStart() *frameError {
	r.fin, r.op = r.head[0]&0x80 != 0, ws.OpCode(r.head[0]&0x0f)
	switch {
	case r.head[0]&0x70 != 0: // section 5.2: no extension is ever negotiated
		return errProtocol
	case r.op.IsReserved():
		return errProtocol
	case r.head[1]&0x80 == 0: // section 5.1: a client must mask
		return errProtocol
	case r.op.IsControl():
		if !r.fin || r.head[1]&0x7f > ws.MaxControlFramePayloadSize { // section 5.5
			return errProtocol
		}
	case (r.op == ws.OpContinuation) != (r.msgOp != ws.OpContinuation): // section 5.4
		return errProtocol
	}
	return nil
}
