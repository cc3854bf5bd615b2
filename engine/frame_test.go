package engine

import (
	"bytes"
	"testing"

	"github.com/gobwas/ws"
)

// frameLengths are the payload lengths at which a header changes its form
// (RFC 6455 section 5.2).
var frameLengths = []int{0, 1, 124, 125, 126, 127, 128, 255, 256, 65534, 65535, 65536, 65537, 1 << 20}

func TestHeaderIsTheOneOfTheLibrary(t *testing.T) {
	for _, op := range []ws.OpCode{ws.OpText, ws.OpBinary, ws.OpClose, ws.OpPing, ws.OpPong} {
		for _, n := range append(frameLengths, 1<<31, 1<<40) {
			var want bytes.Buffer
			if err := ws.WriteHeader(&want, ws.Header{Fin: true, OpCode: op, Length: int64(n)}); err != nil {
				t.Fatal(err)
			}
			if got := appendHeader(nil, op, n); !bytes.Equal(got, want.Bytes()) {
				t.Errorf("op %d, %d bytes: % x, want % x", op, n, got, want.Bytes())
			}
			if got := headerLen(n); got != want.Len() {
				t.Errorf("op %d, %d bytes: a header of %d, want %d", op, n, got, want.Len())
			}
		}
	}
}

func TestTextFrameIsEncodedInPlace(t *testing.T) {
	for _, n := range frameLengths {
		buf := make([]byte, FrameHeadroom+n)
		for i := range n {
			buf[FrameHeadroom+i] = byte('a' + i%26)
		}
		payload := bytes.Clone(buf[FrameHeadroom:])
		f := TextFrame(buf)
		want := bytes.NewBuffer(nil)
		if err := ws.WriteFrame(want, ws.NewTextFrame(payload)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(f.wire, want.Bytes()) {
			t.Fatalf("%d bytes: wrong frame", n)
		}
		if &f.wire[len(f.wire)-1] != &buf[len(buf)-1] {
			t.Errorf("%d bytes: the frame is a copy", n)
		}
		if f.Len() != want.Len() || f.payloadLen() != n {
			t.Errorf("%d bytes: Len %d, payloadLen %d", n, f.Len(), f.payloadLen())
		}
	}
}

func TestTextFrameWithoutHeadroomPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	TextFrame(make([]byte, FrameHeadroom-1))
}
