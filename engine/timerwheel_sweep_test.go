package engine

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestTimerWheelSweeps: whoever schedules far ahead and cancels, in whatever
// order, needs memory for what waits and half as much again, not for what he
// has cancelled.
func TestTimerWheelSweeps(t *testing.T) {
	const day = 86_400_000
	for _, waiting := range []int{0, 1, 20 * slabChunk} {
		t.Run(fmt.Sprint(waiting), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(5, uint64(waiting)))
			w := newTimerWheel[int](0)
			handles := make([]timerHandle, waiting)
			for i := range handles {
				handles[i] = w.Insert(day+rng.Uint64N(day), i)
			}
			most := 0
			for n := range 20*waiting + 100*slabChunk {
				h := w.Insert(day+rng.Uint64N(day), n)
				if waiting > 0 {
					i := rng.IntN(waiting)
					h, handles[i] = handles[i], h
				}
				if _, ok := w.Cancel(h); !ok {
					t.Fatalf("Cancel of waiting entry %+v failed", h)
				}
				most = max(most, w.cancelled)
			}
			// A round of the sweep may pass until the excess is found.
			if limit := waiting/2 + wheelDebris + slabChunk*len(w.blocks.mem); most > limit {
				t.Errorf("%d cancelled entries were kept with %d that wait, want %d at most", most, waiting, limit)
			}
			if n := slabChunksHeld(&w.entries); n > 2*waiting/slabChunk+4 {
				t.Errorf("%d chunks are held for %d entries", n, waiting)
			}
			if n, limit := slabChunksHeld(&w.blocks), 3*waiting/blockRefs/slabChunk+4; n > limit {
				t.Errorf("%d chunks of blocks are held for %d entries, want %d at most", n, waiting, limit)
			}
			if err := checkTimerWheel(w); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestTimerWheelSweepsWhenTheRestFires: what was cancelled far ahead does not
// stay because those that fire are not cancelled.
func TestTimerWheelSweepsWhenTheRestFires(t *testing.T) {
	w := newTimerWheel[int](0)
	const day, n = 86_400_000, 20 * slabChunk
	var far []timerHandle
	for v := range n {
		far = append(far, w.Insert(day+uint64(v), v))
		w.Insert(uint64(1+v), v)
		w.Insert(uint64(1+v), v)
	}
	for _, h := range far {
		w.Cancel(h)
	}
	drainWheel(w, n-100)
	if err := checkTimerWheel(w); err != nil {
		t.Fatal(err)
	}
	if w.cancelled > wheelDebris+w.Len() {
		t.Fatalf("%d cancelled entries are kept with %d that wait", w.cancelled, w.Len())
	}
	drainWheel(w, n)
	if w.cancelled != 0 || slabChunksHeld(&w.entries) > 1 || slabChunksHeld(&w.blocks) > 1 {
		t.Fatalf("an empty wheel keeps %d cancelled entries, %d chunks, %d of blocks",
			w.cancelled, slabChunksHeld(&w.entries), slabChunksHeld(&w.blocks))
	}
}

// TestTimerWheelSweepJoinsBlocks: what waits is not spread over as many blocks
// as what was cancelled.
func TestTimerWheelSweepJoinsBlocks(t *testing.T) {
	const blocks, deadline = 40, 1 << 20
	w := newTimerWheel[int](0)
	var want []int
	var cancel []timerHandle
	for v := range blocks * blockRefs {
		if h := w.Insert(deadline, v); v%blockRefs == 7 {
			want = append(want, v)
		} else {
			cancel = append(cancel, h)
		}
	}
	for _, h := range cancel {
		w.Cancel(h)
	}
	for range slabChunk {
		w.sweep()
	}
	if err := checkTimerWheel(w); err != nil {
		t.Fatal(err)
	}
	if least := (blocks + blockRefs - 1) / blockRefs; w.blocks.used != least || w.cancelled != 0 {
		t.Errorf("%d blocks are used and %d cancelled entries kept, want %d and none", w.blocks.used, w.cancelled, least)
	}
	wantWheelFired(t, drainWheel(w, deadline), want...)
}

// A block whose front has been cascaded has no room there: what is joined with
// it comes behind what it still holds.
func TestTimerWheelSweepKeepsOrderInAnInterruptedCascade(t *testing.T) {
	const deadline = 2*wheelSlots + 2
	w := newTimerWheel[int](0)
	var want []int
	for v := range blockRefs + 5 {
		w.Insert(deadline, v)
		want = append(want, v)
	}
	w.Advance(deadline-1, blockRefs-3, nil)
	w.broom = w.slots[w.opened].tail
	w.sweep()
	if err := checkTimerWheel(w); err != nil {
		t.Fatal(err)
	}
	wantWheelFired(t, drainWheel(w, deadline), want...)
}

func TestTimerWheelGet(t *testing.T) {
	w := newTimerWheel[string](100)
	past, far := w.Insert(10, "past"), w.Insert(1<<40, "far")
	if at, v, ok := w.Get(past); at != 100 || v != "past" || !ok {
		t.Errorf("Get = %d, %q, %v; want the deadline as raised", at, v, ok)
	}
	if at, v, ok := w.Get(far); at != 1<<40 || v != "far" || !ok {
		t.Errorf("Get = %d, %q, %v", at, v, ok)
	}
	w.Cancel(far)
	for _, h := range []timerHandle{{}, far, {index: past.index}, {index: 1 << 31, gen: past.gen}} {
		if at, v, ok := w.Get(h); at != 0 || v != "" || ok {
			t.Errorf("Get of %+v = %d, %q, %v", h, at, v, ok)
		}
	}
}

// A sparse wheel is scanned in bounded steps too: chunks that were given back
// are passed at once, and the others place by place.
func TestTimerWheelScanOfASparseWheel(t *testing.T) {
	w := newTimerWheel[int](0)
	for v := range 10 * slabChunk {
		w.Insert(uint64(1+v/(9*slabChunk)), v)
	}
	drainWheel(w, 1)
	seen, steps := map[int]bool{}, 0
	for cursor := uint32(0); ; {
		steps++
		cursor = w.Scan(cursor, 64, func(_ uint64, h timerHandle, v int) {
			seen[v] = true
			w.Cancel(h)
		})
		if cursor == 0 {
			break
		}
	}
	if len(seen) != slabChunk || w.Len() != 0 {
		t.Errorf("visited %d entries, %d are left; want %d, 0", len(seen), w.Len(), slabChunk)
	}
	if least, most := slabChunk/64, 4*slabChunk/64; steps < least || steps > most {
		t.Errorf("took %d steps, want %d to %d", steps, least, most)
	}
}
