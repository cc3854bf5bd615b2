package engine

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// bodyOf is a message of about size bytes.
func bodyOf(key uint64, size int) packed {
	m := Delayed{Key: key, Frame: textFrame(strings.Repeat(string(rune('a'+key%26)), size)), Stamp: -1}
	return packedFrom(appendPacked(nil, &m))
}

// Against a map: whatever comes and goes, each message stays as it is, and the
// holes between them are bounded.
func TestBodiesModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	b := newBodies()
	where, want := make(map[uint64]bodyRef), make(map[uint64]packed)
	var keys []uint64
	waits := func(key uint64, r bodyRef) bool { at, ok := where[key]; return ok && at == r }
	moves := 0
	moved := func(key uint64, to bodyRef) {
		moves++
		where[key] = to
	}
	next := uint64(0)
	for phase, n := range []int{8000, 500, 8000, 100, 0} {
		for len(keys) != n {
			if rng.IntN(50) == 0 {
				b.holdBack(!b.holding)
			}
			if grow := len(keys) < n; grow == (rng.IntN(4) > 0) {
				size := rng.IntN(400)
				if rng.IntN(200) == 0 {
					size = bodyLarge + rng.IntN(3*bodyChunkSize)
				}
				next++
				p := bodyOf(next, size)
				where[next], want[next] = b.put(p), p
				keys = append(keys, next)
			} else if len(keys) > 0 {
				i := rng.IntN(len(keys))
				key := keys[i]
				keys[i] = keys[len(keys)-1]
				keys = keys[:len(keys)-1]
				r := where[key]
				delete(where, key)
				delete(want, key)
				b.drop(r)
				b.clean(waits, moved)
			}
		}
		live := 0
		for key, r := range where {
			if b.get(r) != want[key] {
				t.Fatalf("phase %d: message %d is not what it was", phase, key)
			}
			live += len(b.short(r))
		}
		if b.live != live {
			t.Fatalf("phase %d: %d bytes counted, %d wait", phase, b.live, live)
		}
		if holes := b.used - b.live; holes > b.live+bodyHoles+bodyChunkSize {
			t.Errorf("phase %d: %d bytes of holes beside %d", phase, holes, b.live)
		}
		written := 0
		for _, k := range b.chunks {
			written += len(k.mem)
		}
		if b.used != written {
			t.Fatalf("phase %d: %d bytes counted as written, %d are", phase, b.used, written)
		}
	}
	if moves == 0 {
		t.Error("nothing was ever moved")
	}
	if b.live != 0 || b.used > bodyChunkSize {
		t.Errorf("empty: %d bytes wait, %d are written", b.live, b.used)
	}
}

// What is due first was not put first: the last messages of many chunks are
// moved together.
func TestBodiesCleanUp(t *testing.T) {
	b := newBodies()
	where := make(map[uint64]bodyRef)
	const count, every = 60_000, 50
	for key := uint64(0); key < count; key++ {
		where[key] = b.put(bodyOf(key, 200))
	}
	before := len(b.chunks) - len(b.vacant)
	for key := uint64(0); key < count; key++ {
		if key%every != 0 {
			r := where[key]
			delete(where, key)
			b.drop(r)
			b.clean(func(key uint64, r bodyRef) bool { at, ok := where[key]; return ok && at == r },
				func(key uint64, to bodyRef) { where[key] = to })
		}
	}
	if after := len(b.chunks) - len(b.vacant); after > before/every+2*bodyHoles/bodyChunkSize {
		t.Errorf("%d of %d messages are left in %d of %d chunks", len(where), count, after, before)
	}
	for key, r := range where {
		if b.get(r) != bodyOf(key, 200) {
			t.Fatalf("message %d is not what it was", key)
		}
	}
}

// Memory that is held back is used again, and else given back, and nothing of the
// messages beside it.
func TestBodiesHoldMemoryBack(t *testing.T) {
	b := newBodies()
	lies := make(map[uint32][]uint64) // in each chunk, which messages
	where := make(map[uint64]bodyRef)
	put := func(key uint64) {
		r := b.put(bodyOf(key, 1000))
		where[key] = r
		lies[r.chunk] = append(lies[r.chunk], key)
	}
	next := uint64(0)
	for ; len(b.chunks) == 0 || len(lies) < 12; next++ {
		put(next)
	}
	chunks := len(b.chunks)
	b.holdBack(true)
	var held []uint32
	for c, keys := range lies {
		if c%4 == 3 || c == b.filling {
			continue // these stay, between those that go
		}
		for _, key := range keys {
			b.drop(where[key])
			delete(where, key)
		}
		held = append(held, c)
	}
	if len(b.emptied) != len(held) {
		t.Fatalf("%d chunks are held back, want %d", len(b.emptied), len(held))
	}
	for full := b.filling; b.filling == full; next++ {
		put(next)
	}
	if !slices.Contains(held, b.filling) || len(b.chunks) != chunks {
		t.Errorf("chunk %d of %d is taken next, want one of %v", b.filling, len(b.chunks), held)
	}
	b.holdBack(false)
	if len(b.emptied) != 0 {
		t.Errorf("%d chunks are held back still", len(b.emptied))
	}
	for _, c := range held {
		if mem := b.chunks[c].mem; c != b.filling && strings.Trim(string(mem[:bodyChunkSize]), "\x00") != "" {
			t.Errorf("the memory of chunk %d was not given back", c)
		}
	}
	for key, r := range where {
		if b.get(r) != bodyOf(key, 1000) {
			t.Errorf("message %d is not what it was", key)
		}
	}
}

// Messages stay whole through the engine while those around them leave, and
// cancelling moves them too.
func TestBodiesOfDelayedMessagesMove(t *testing.T) {
	s := serve(t, scripted{}, nil)
	var keys []uint64
	const count = 12_000
	due := Now().Add(time.Hour)
	for range count {
		m := Delayed{Key: s.NewKey(), Due: due, Tokens: []string{"a"}, Frame: textFrame(strings.Repeat("m", 300)), Stamp: -1}
		if err := s.Schedule([]Delayed{m}, nil); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, m.Key)
	}
	for i, key := range keys {
		if i%10 != 0 {
			if err := s.Cancel(key); err != nil {
				t.Fatal(err)
			}
		}
	}
	left := slices.DeleteFunc(slices.Clone(keys), func(k uint64) bool { return k%10 != keys[0]%10 })
	for _, key := range left {
		if m, err := s.Waiting(key); err != nil || m.Key != key || !slices.Equal(m.Tokens, []string{"a"}) {
			t.Fatalf("message %d: %+v, %v", key, m, err)
		}
	}
	d := s.delayed
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bodies.live > 600*len(left) || d.bodies.used > d.bodies.live*2+bodyHoles+bodyChunkSize {
		t.Errorf("%d messages: %d bytes wait, %d are written", len(left), d.bodies.live, d.bodies.used)
	}
}
