package engine

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"gorelay/internal/wsclient"
)

// oracle reads a whole stream slowly and obviously, with the library's own
// header parser and checks. It reports what can be told from the bytes there
// are; a frame that is cut off counts for nothing, but for a header that is
// wrong already.
func oracle(stream []byte, maxMessage int) (events []event, err *frameError) {
	in := bytes.NewReader(stream)
	var message []byte
	var op ws.OpCode // of the open message, 0 if there is none
	for {
		at := stream[len(stream)-in.Len():]
		h, herr := ws.ReadHeader(in)
		if errors.Is(herr, io.EOF) || errors.Is(herr, io.ErrUnexpectedEOF) {
			if len(at) >= 2 && !startIsLegal(at, op) {
				return events, errProtocol
			}
			return events, nil
		}
		if herr != nil || !startIsLegal(at, op) || !lengthIsShortest(at, h.Length) {
			return events, errProtocol
		}
		if !h.OpCode.IsControl() && h.Length > int64(maxMessage-len(message)) {
			return events, errTooBig
		}
		payload := make([]byte, min(int(h.Length), in.Len()))
		_, _ = io.ReadFull(in, payload)
		ws.Cipher(payload, h.Mask, 0)
		whole := len(payload) == int(h.Length)
		if h.OpCode.IsControl() {
			if !whole {
				return events, nil
			}
			events = append(events, event{h.OpCode, string(payload)})
			continue
		}
		if h.OpCode != ws.OpContinuation {
			op, message = h.OpCode, nil
		}
		message = append(message, payload...)
		end := whole && h.Fin
		if op == ws.OpText && !validSoFar(message, end) {
			return events, errUTF8
		}
		if !whole {
			return events, nil
		}
		if end {
			events = append(events, event{op, string(message)})
			op, message = 0, nil
		}
	}
}

// startIsLegal judges the first two bytes of a header by ws.CheckHeader, whose
// state knows whether a message is open, and by what it leaves to the caller.
func startIsLegal(at []byte, open ws.OpCode) bool {
	h := ws.Header{Fin: at[0]&0x80 != 0, Rsv: at[0] >> 4 & 7, OpCode: ws.OpCode(at[0] & 15), Masked: at[1]&0x80 != 0, Length: int64(at[1] & 0x7f)}
	state := ws.StateServerSide
	if open != 0 {
		state = state.Set(ws.StateFragmented)
	}
	return ws.CheckHeader(h, state) == nil && h.Rsv == 0
}

// lengthIsShortest: RFC 6455 section 5.2 requires the minimal form.
func lengthIsShortest(at []byte, n int64) bool {
	switch at[1] & 0x7f {
	case 126:
		return n >= 126
	case 127:
		return n > 0xffff
	}
	return true
}

// validSoFar reports whether text is UTF-8, or can still become so.
func validSoFar(text []byte, end bool) bool {
	if utf8.Valid(text) {
		return true
	}
	for cut := 1; !end && cut < utf8.UTFMax && cut <= len(text); cut++ {
		whole, rest := text[:len(text)-cut], text[len(text)-cut:]
		if utf8.Valid(whole) && !utf8.FullRune(rest) {
			return true
		}
	}
	return false
}

// TestOracle holds the oracle to the table that the reader is held to.
func TestOracle(t *testing.T) {
	for _, tt := range readerCases {
		events, err := oracle(wsclient.Join(tt.frames...), testMaxMessage)
		if !slices.Equal(events, tt.events) || err != tt.err {
			t.Errorf("%s: %q, %v; want %q, %v", tt.name, events, err, tt.events, tt.err)
		}
	}
}

// FuzzReader: whatever comes in whatever pieces, the reader and the oracle see
// the same messages and end with the same error.
func FuzzReader(f *testing.F) {
	for _, tt := range readerCases {
		if wire := wsclient.Join(tt.frames...); len(wire) < 1000 {
			f.Add(wire, []byte{1, 2, 200})
		}
	}
	f.Fuzz(func(t *testing.T, stream, sizes []byte) {
		const maxMessage = 300
		want, wantErr := oracle(stream, maxMessage)
		var pieces [][]byte
		rest := stream
		for i := 0; len(rest) > 0; i++ {
			n := len(rest)
			if len(sizes) > 0 {
				n = min(n, 1+int(sizes[i%len(sizes)]))
			}
			pieces = append(pieces, rest[:n])
			rest = rest[n:]
		}
		got, err := readPieces(maxMessage, pieces...)
		if !slices.Equal(got, want) || err != wantErr {
			t.Fatalf("%q, %v; want %q, %v", got, err, want, wantErr)
		}
	})
}
