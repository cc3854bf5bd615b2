package engine

import (
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"
)

// Against a map: keys that ascend, with gaps and stragglers, come, move and go.
func TestHandlesModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var index handles
	want := make(map[uint64]handle)
	var keys []uint64
	next := uint64(1<<48 - 5000)
	for _, gap := range []uint64{1, 3, 5000, 1} {
		for _, n := range []int{20_000, 300, 9000, 0} {
			for len(keys) != n {
				switch grow := len(keys) < n; {
				case rng.IntN(8) == 0 && len(keys) > 0: // it moves
					key := keys[rng.IntN(len(keys))]
					want[key] = handle(rng.Uint32N(1 << 28))
					index.put(key, want[key])
				case grow == (rng.IntN(4) > 0):
					key := next + rng.Uint64N(100*gap) // some come late
					next += gap
					if _, ok := want[key]; !ok {
						keys = append(keys, key)
					}
					want[key] = nearBit | handle(rng.Uint32N(1<<28))
					index.put(key, want[key])
				case len(keys) > 0:
					i := rng.IntN(len(keys))
					if rng.IntN(2) == 0 {
						i = 0
					}
					key := keys[i]
					keys[i] = keys[len(keys)-1]
					keys = keys[:len(keys)-1]
					delete(want, key)
					index.remove(key)
					index.remove(key) // once more does nothing
					if _, ok := index.get(key); ok {
						t.Fatalf("key %d is still there", key)
					}
				}
			}
			live, empty := 0, 0
			for i, l := range index.leaves {
				if i > 0 && index.leaves[i-1].prefix >= l.prefix {
					t.Fatalf("leaf %d of %d is not in order", i, len(index.leaves))
				}
				if live += l.live; l.live == 0 {
					empty++
				}
				if len(l.rests) != len(l.at) || len(l.rests) > 2*l.live+leafMin {
					t.Fatalf("a leaf of %d messages has %d and %d places", l.live, len(l.rests), len(l.at))
				}
			}
			if live != len(want) || empty != index.empty || empty > len(index.leaves)/2+leafMin {
				t.Fatalf("%d messages and %d of %d leaves empty, %d noted; want %d", live, empty, len(index.leaves), index.empty, len(want))
			}
			for key, h := range want {
				if got, ok := index.get(key); !ok || got != h {
					t.Fatalf("key %d: %#x, %v, want %#x", key, got, ok, h)
				}
			}
			if _, ok := index.get(next + 1<<30); ok {
				t.Fatal("a key that never was is there")
			}
		}
	}
}

// size is the memory of an index in bytes.
func (t *handles) size() int {
	n := cap(t.leaves) * int(unsafe.Sizeof(handleLeaf{}))
	for _, l := range t.leaves {
		n += cap(l.rests)*int(unsafe.Sizeof(l.rests[0])) + cap(l.at)*int(unsafe.Sizeof(l.at[0]))
	}
	return n
}

// A message takes 6 bytes where keys lie close together, more where they do not,
// and what it took is given back.
func TestHandlesMemory(t *testing.T) {
	const count = 1 << 18
	for _, tt := range []struct {
		gap  uint64
		each int // bytes
	}{{1, 7}, {2, 8}, {16, 9}, {100, 20}, {1 << leafBits, 256}} {
		var index handles
		for i := range uint64(count) {
			index.put(i*tt.gap, handle(i))
		}
		if n := index.size(); n > tt.each*count {
			t.Errorf("%d messages, one in %d, take %d bytes", count, tt.gap, n)
		}
		for i := range uint64(count) {
			index.remove(i * tt.gap)
		}
		if n := index.size(); n > 4<<10 {
			t.Errorf("none takes %d bytes", n)
		}
	}
}

// A message that was sent is not taken for the one that has its entry since.
func TestHandlesOfSentMessages(t *testing.T) {
	e := withoutSockets(1)
	e.began = time.Now()
	d := newDelayed(e)
	put := func(key uint64, due uint64) {
		d.insert(due, tagEverybody, bodyOf(key, 1))
	}
	put(1, 0)
	f := firing{delayed: d}
	if fired, ok := f.fire(); !fired || !ok {
		t.Fatal("the message was not sent")
	}
	if d.waits(1) {
		t.Error("the message waits although it was sent")
	}
	put(2, 1<<40)
	first, ok1 := d.where.get(1)
	second, ok2 := d.where.get(2)
	if !ok1 || !ok2 || first != second {
		t.Fatalf("the entries are %#x (%t) and %#x (%t), not the same", first, ok1, second, ok2)
	}
	if d.waits(1) || !d.waits(2) {
		t.Errorf("the first message waits: %t, the second: %t", d.waits(1), d.waits(2))
	}
	if err := d.undo(1); err != ErrNotWaiting {
		t.Errorf("the first message is taken back: %v", err)
	}
	d.forget([]uint64{1})
	if err := d.undo(2); err != nil || d.waits(2) {
		t.Errorf("the second message is not taken back: %v", err)
	}
}

// BenchmarkHandles is what an index of a million keys takes: to note one more, to
// find one and to move one at random, and to forget one, first in first out.
func BenchmarkHandles(b *testing.B) {
	const count = 1_000_000
	fill := func() *handles {
		index := new(handles)
		for key := range uint64(count) {
			index.put(key, handle(key))
		}
		return index
	}
	b.Run("put", func(b *testing.B) {
		index := fill()
		b.ReportAllocs()
		for key := uint64(count); b.Loop(); key++ {
			index.put(key, 1)
		}
	})
	b.Run("get", func(b *testing.B) {
		index, rng := fill(), rand.New(rand.NewPCG(1, 2))
		for b.Loop() {
			if _, ok := index.get(rng.Uint64N(count)); !ok {
				b.Fatal("lost")
			}
		}
	})
	b.Run("move", func(b *testing.B) {
		index, rng := fill(), rand.New(rand.NewPCG(1, 2))
		b.ReportAllocs()
		for b.Loop() {
			index.put(rng.Uint64N(count), 1)
		}
	})
	b.Run("churn", func(b *testing.B) {
		index := fill()
		b.ReportAllocs()
		for key := uint64(count); b.Loop(); key++ {
			index.put(key, 1)
			index.remove(key - count)
		}
	})
}
