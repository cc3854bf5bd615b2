package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// drainWheel advances a wheel to now and returns what it fired.
func drainWheel[T any](w *timerWheel[T], now uint64) (fired []T) {
	for w.Advance(now, 3, func(v T) { fired = append(fired, v) }) {
	}
	return fired
}

func wantWheelFired[T comparable](t *testing.T, got []T, want ...T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("fired %v, want %v", got, want)
	}
}

func TestTimerWheelFiresPastDeadlinesNext(t *testing.T) {
	w := newTimerWheel[string](1000)
	w.Insert(10, "past")
	w.Insert(1000, "now")
	w.Insert(0, "long past")
	wantWheelFired(t, drainWheel(w, 0), "past", "now", "long past") // time does not go back
	w.Insert(1000, "again")
	wantWheelFired(t, drainWheel(w, 1000), "again")
}

// An interrupted cascade must not let a newcomer overtake entries of the same
// deadline that wait in the slot since long.
func TestTimerWheelKeepsOrderInAnInterruptedCascade(t *testing.T) {
	for budget := range 12 {
		w := newTimerWheel[int](0)
		const deadline = 5*64*64 + 7*64 + 9
		for v := range 10 {
			w.Insert(deadline, v)
		}
		fire := func(v int) { t.Fatalf("budget %d: %d fired early", budget, v) }
		w.Advance(deadline-1, budget, fire)
		w.Insert(deadline, 10)
		w.Advance(deadline-1, budget, fire)
		w.Insert(deadline, 11)
		wantWheelFired(t, drainWheel(w, deadline), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
	}
}

func TestTimerWheelCancelEmptiesAnOpenedSlot(t *testing.T) {
	w := newTimerWheel[int](0)
	w.Insert(130, 1)
	h := w.Insert(131, 2)
	if !w.Advance(129, 1, nil) {
		t.Fatal("one move did not leave the other entry to be moved")
	}
	w.Cancel(h)
	if err := checkTimerWheel(w); err != nil {
		t.Fatal(err)
	}
	w.Insert(131, 3)
	wantWheelFired(t, drainWheel(w, 131), 1, 3)
}

func TestTimerWheelStaleHandles(t *testing.T) {
	w := newTimerWheel[string](0)
	first := w.Insert(10, "first")
	if v, ok := w.Cancel(first); !ok || v != "first" {
		t.Fatalf("Cancel = %q, %v", v, ok)
	}
	second := w.Insert(10, "second")
	if second.index != first.index {
		t.Fatalf("the free entry %d was not used again, but %d", first.index, second.index)
	}
	fired := w.Insert(5, "fired")
	wantWheelFired(t, drainWheel(w, 5), "fired")
	burst := make([]timerHandle, 4*slabChunk) // of chunks that are given back
	for i := range burst {
		burst[i] = w.Insert(20, "burst")
	}
	for _, h := range burst {
		w.Cancel(h)
	}
	for _, stale := range append(burst, first, fired, timerHandle{}, timerHandle{index: 1 << 31, gen: 1}, timerHandle{index: second.index}) {
		if v, ok := w.Cancel(stale); ok {
			t.Fatalf("stale handle %+v cancelled %q", stale, v)
		}
	}
	wantWheelFired(t, drainWheel(w, 10), "second")
}

func TestTimerWheelZeroHandleNamesNone(t *testing.T) {
	w := newTimerWheel[int](0)
	h := w.Insert(1, 1)
	drainWheel(w, 1)
	if h.index != 0 { // or the zero handle would not meet a free entry
		t.Fatalf("the first entry has index %d", h.index)
	}
	if _, _, ok := w.Get(timerHandle{}); ok {
		t.Fatal("the zero handle found a free entry")
	}
	if _, ok := w.Cancel(timerHandle{}); ok || w.Len() != 0 {
		t.Fatalf("the zero handle cancelled a free entry; Len = %d", w.Len())
	}
}

func TestTimerWheelGenerationSkipsZero(t *testing.T) {
	w := newTimerWheel[int](0)
	w.gen--
	w.Insert(1, 1)
	w.gen = ^uint32(0)
	h := w.Insert(2, 2)
	if _, ok := w.Cancel(h); h.gen == 0 || !ok {
		t.Fatalf("handle %+v of the entry after the last generation is not usable", h)
	}
}

func TestTimerWheelFireMayUseTheWheel(t *testing.T) {
	w := newTimerWheel[string](0)
	var h timerHandle
	var fired []string
	w.Insert(100, "a")
	h = w.Insert(100, "b")
	w.Insert(100, "c")
	w.Advance(150, 100, func(v string) {
		fired = append(fired, v)
		if v == "a" {
			w.Cancel(h)
			w.Insert(120, "due") // counts as 150
			w.Insert(151, "later")
		}
	})
	wantWheelFired(t, fired, "a", "c", "due")
	wantWheelFired(t, drainWheel(w, 151), "later")
}

func TestTimerWheelEndlessFireStopsAtBudget(t *testing.T) {
	w := newTimerWheel[int](0)
	w.Insert(1, 0)
	fired := 0
	more := w.Advance(1, 50, func(int) { fired++; w.Insert(1, 0) })
	if fired != 50 || !more {
		t.Fatalf("fired %d, more %v; want 50, true", fired, more)
	}
}

func TestTimerWheelSurvivesAPanicInFire(t *testing.T) {
	w := newTimerWheel[int](0)
	for v := range 3 {
		w.Insert(100, v)
	}
	func() {
		defer func() { _ = recover() }()
		w.Advance(100, 100, func(int) { panic("fire") })
	}()
	if err := checkTimerWheel(w); err != nil {
		t.Fatal(err)
	}
	wantWheelFired(t, drainWheel(w, 100), 1, 2)
}

// TestTimerWheelSleepsLong counts the times an owner wakes that sleeps until
// Next: once a level at most, however far the deadline.
func TestTimerWheelSleepsLong(t *testing.T) {
	const epoch = 1_733_890_123_456
	for _, delay := range []uint64{1, 64, 1000, 86_400_000, 10 * wheelCentury} {
		t.Run(fmt.Sprint(delay), func(t *testing.T) {
			w := newTimerWheel[int](epoch)
			w.Insert(epoch+delay, 1)
			wakes := 0
			for {
				at, ok := w.Next()
				if !ok {
					break
				}
				if wakes++; wakes > wheelLevels {
					t.Fatalf("woke %d times", wakes)
				}
				w.Advance(at, 1, func(int) {
					if at != epoch+delay {
						t.Fatalf("fired after %d", at-epoch)
					}
				})
			}
		})
	}
}

// TestTimerWheelCrossesEmptyTimeAtOnce would not end if a tick took a step.
func TestTimerWheelCrossesEmptyTimeAtOnce(t *testing.T) {
	w := newTimerWheel[int](0)
	for range 1000 {
		if w.Advance(w.now+10*wheelCentury, 0, nil) {
			t.Fatal("an empty wheel has work")
		}
	}
	w.Insert(w.now+1, 1)
	wantWheelFired(t, drainWheel(w, w.now+10*wheelCentury), 1)
}

// TestTimerWheelGivesMemoryBack: a burst that is over leaves a chunk of each
// kind, and handles into what was given back are harmless.
func TestTimerWheelGivesMemoryBack(t *testing.T) {
	w := newTimerWheel[int](0)
	for range 2 {
		deadline := w.now + 5000
		for v := range 20 * slabChunk {
			w.Insert(deadline+uint64(v%700), v)
		}
		drainWheel(w, deadline+700)
		for _, n := range []int{slabChunksHeld(&w.entries), slabChunksHeld(&w.blocks)} {
			if n > 1 {
				t.Fatalf("an empty wheel holds %d chunks", n)
			}
		}
		if err := checkTimerWheel(w); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(w.entries.mem); n > 21 {
		t.Fatalf("the second burst did not use the numbers of the first: %d chunks", n)
	}
}

// TestTimerWheelFillsHolesFirst: what has left full chunks is used again before
// memory grows.
func TestTimerWheelFillsHolesFirst(t *testing.T) {
	w := newTimerWheel[int](0)
	handles := make([]timerHandle, 3*slabChunk)
	for v := range handles {
		handles[v] = w.Insert(uint64(v%wheelSlots), v)
	}
	for round := range 3 {
		for i := round; i < len(handles); i += 3 {
			if v, ok := w.Cancel(handles[i]); !ok || v != i {
				t.Fatalf("Cancel = %d, %v, want %d", v, ok, i)
			}
		}
		if err := checkTimerWheel(w); err != nil {
			t.Fatal(err)
		}
		for i := round; i < len(handles); i += 3 {
			handles[i] = w.Insert(uint64(i%wheelSlots), i)
		}
		if n := slabChunksHeld(&w.entries); n != 3 {
			t.Fatalf("%d chunks are held, want 3", n)
		}
	}
}

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
	const deadline = 130
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
	if next := w.Scan(0, 0, nil); next == 0 && slabChunksHeld(&w.entries) > 0 && w.entries.mem[0] != nil {
		t.Error("a step without a budget ended the scan")
	}
}

func slabChunksHeld[E any](s *timerSlab[E]) (n int) {
	for _, mem := range s.mem {
		if mem != nil {
			n++
		}
	}
	return n
}

// A block is three cache lines, and an entry with a string never straddles two.
func TestTimerWheelSizes(t *testing.T) {
	if n := unsafe.Sizeof(timerBlock{}); n != 192 {
		t.Errorf("a block takes %d bytes, want 192", n)
	}
	if n := unsafe.Sizeof(timerEntry[string]{}); n != 32 {
		t.Errorf("an entry with a string takes %d bytes, want 32", n)
	}
}
