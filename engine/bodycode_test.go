package engine

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// What was short comes back byte for byte, wherever its origin lies.
func TestShortBodies(t *testing.T) {
	const ms = 1_733_890_000_000
	for _, m := range []Delayed{
		{Key: 1, Created: time.UnixMilli(ms), Due: time.UnixMilli(ms + 1000), Frame: textFrame("all"), Stamp: -1},
		{Key: 1<<52 - 1, Created: time.UnixMilli(0), Due: time.UnixMilli(1<<48 - 1), Tokens: []string{"a"}, Frame: textFrame("0123456789abc"), Stamp: 0},
		{Key: 0, Created: time.UnixMilli(1<<48 - 1), Due: time.UnixMilli(0), Tokens: []string{"a"}, List: true, Frame: textFrame("x0123456789abc"), Stamp: 1},
		{Key: math.MaxUint64, Created: time.UnixMilli(ms), Due: time.UnixMilli(ms - 1), Tokens: []string{"a", "b"}, List: true, Frame: textFrame(""), Stamp: -1},
		{Key: 1 << 63, Created: time.UnixMilli(-1), Due: time.UnixMilli(ms), Tokens: []string{"", strings.Repeat("t", 127), strings.Repeat("u", 70_000)}, Frame: textFrame(strings.Repeat("x", 1<<17)), Stamp: 1 << 16},
	} {
		p := packedFrom(appendPacked(nil, &m))
		for _, origin := range []bodyOrigin{{}, {1, ms}, {math.MaxUint64, math.MaxInt64}, {1 << 63, math.MinInt64}} {
			testShortBody(t, origin, p)
		}
	}
}

// A text frame is kept without its header, any other as it is.
func TestShortBodiesOfFrames(t *testing.T) {
	var origin bodyOrigin
	for _, n := range frameLengths {
		for _, tt := range []struct {
			wire     []byte
			headless bool
		}{
			{encodeInPlace(make([]byte, FrameHeadroom+n), ws.OpText), true},
			{encodeInPlace(make([]byte, FrameHeadroom+n), ws.OpBinary), false},
			{make([]byte, n), false},
			{append(encodeInPlace(make([]byte, FrameHeadroom+n), ws.OpText), 0), false},
		} {
			m := Delayed{Tokens: []string{"a"}, Frame: Frame{wire: tt.wire}, Stamp: -1}
			p := packedFrom(appendPacked(nil, &m))
			testShortBody(t, origin, p)
			if got := origin.read(origin.append(nil, p)).headless; got != tt.headless {
				t.Errorf("a frame of %d bytes, % .4x, is without its header: %t", len(tt.wire), tt.wire, got)
			}
		}
	}
}

func testShortBody(t *testing.T, origin bodyOrigin, p packed) {
	t.Helper()
	short := origin.append([]byte("before"), p)[len("before"):]
	got := origin.read(short)
	if back := got.appendPacked(nil); string(back) != string(p) {
		t.Errorf("from %+v: %.60x came back as %.60x", origin, p, back)
	}
	if got.packedLen() != len(p) || got.key != p.key() {
		t.Errorf("from %+v: key %d and %d bytes, want %d and %d", origin, got.key, got.packedLen(), p.key(), len(p))
	}
}

func FuzzShortBodies(f *testing.F) {
	f.Add(uint64(7), int64(1_733_890_000_000), int64(60_000), "a", uint8(1), true, "0123456789abc", uint64(5), int64(1_733_880_000_000))
	f.Add(uint64(math.MaxUint64), int64(-1), int64(math.MinInt32), "", uint8(0), false, "", uint64(0), int64(0))
	f.Fuzz(func(t *testing.T, key uint64, created, delay int64, token string, tokens uint8, list bool, text string, originKey uint64, originMS int64) {
		m := Delayed{Key: key, Created: time.UnixMilli(created), Due: time.UnixMilli(created + delay), List: list, Frame: textFrame(text), Stamp: -1}
		for i := range int(tokens) {
			m.Tokens = append(m.Tokens, token[min(i, len(token)):])
		}
		if len(text) >= stampDigits {
			m.Stamp = int(key % uint64(len(text)-stampDigits+1))
		}
		testShortBody(t, bodyOrigin{originKey, originMS}, packedFrom(appendPacked(nil, &m)))
	})
}

// A message of the usual kind takes 18 bytes at most beside its payload and its
// token.
func TestShortBodiesAreShort(t *testing.T) {
	now := time.Now()
	origin := bodyOrigin{1 << 40, now.Add(-24 * time.Hour).UnixMilli()}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		m := Delayed{
			Key: origin.key + rng.Uint64N(10_000_000), Created: now, Due: now.Add(time.Duration(rng.Int64N(int64(12 * time.Hour)))),
			Tokens: []string{"USER_123"}, Frame: textFrame(strings.Repeat("x", 200)), Stamp: 50,
		}
		p := packedFrom(appendPacked(nil, &m))
		short := origin.append(nil, p)
		if extra := len(short) - m.Frame.payloadLen() - len(m.Tokens[0]); extra > 18 {
			t.Fatalf("%d bytes beside payload and token", extra)
		}
	}
}
