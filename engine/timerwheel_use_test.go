package engine

import (
	"fmt"
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
	for _, deadline := range []uint64{5<<16 + 7<<8 + 9, 5<<32 + 7<<8 + 9, 5<<40 + 7<<32 + 9} {
		for budget := range 12 {
			w := newTimerWheel[int](0)
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
}

// TestTimerWheelFarDeadlines: deadlines in one slot that differ only in bits
// which its blocks do not have, in those of each level from 2^32 ticks up, as
// seen from a little before a border. Some are cancelled.
func TestTimerWheelFarDeadlines(t *testing.T) {
	for level := uint(blockDigits + 1); level < wheelLevels; level++ {
		for budget := 1; budget < 40; budget += 6 {
			const last = 3 * blockRefs
			unit := uint64(1) << (level * wheelDigit)
			w := newTimerWheel[int](5*unit - 3)
			var handles []timerHandle
			var want []int
			deadline := func(v int) uint64 { return 6*unit + uint64(v)*(unit/wheelSlots) + 9 }
			for v := last; v >= 0; v-- {
				handles = append(handles, w.Insert(deadline(v), v))
			}
			for i, h := range handles {
				v := last - i
				if at, got, ok := w.Get(h); at != deadline(v) || got != v || !ok {
					t.Fatalf("level %d: Get = %d, %d, %v, want %d, %d", level, at, got, ok, deadline(v), v)
				}
				if v%3 == 1 {
					w.Cancel(h)
				}
			}
			for v := range last + 1 {
				if v%3 != 1 {
					want = append(want, v)
				}
			}
			var got []int
			for w.Len() > 0 {
				at, _ := w.Next()
				for w.Advance(at, budget, func(v int) {
					if w.elapsed != deadline(v) {
						t.Errorf("level %d: %d fired at %d, want %d", level, v, w.elapsed, deadline(v))
					}
					got = append(got, v)
				}) {
					if err := checkTimerWheel(w); err != nil {
						t.Fatal(err)
					}
				}
			}
			wantWheelFired(t, got, want...)
		}
	}
}

// A cascade that comes to the entries buries what was cancelled, of however far
// a slot, also if it is interrupted.
func TestTimerWheelCascadeBuriesWhatWasCancelled(t *testing.T) {
	for _, deadline := range []uint64{7 << 8, 7 << 32, 7 << 40, 7 << 56} {
		w := newTimerWheel[int](0)
		var cancel []timerHandle
		for v := range 2 * blockRefs {
			if h := w.Insert(deadline+200, v); v < 2*blockRefs-1 {
				cancel = append(cancel, h)
			}
		}
		for _, h := range cancel {
			w.Cancel(h)
		}
		for moved := 5; moved <= len(cancel); moved += 5 {
			if !w.Advance(deadline, 5, nil) {
				t.Fatal("a budget of 5 moved all")
			}
			if want := len(cancel) - moved; w.cancelled != want {
				t.Errorf("deadline %d: %d cancelled entries are kept, want %d", deadline, w.cancelled, want)
			}
			if err := checkTimerWheel(w); err != nil {
				t.Fatal(err)
			}
		}
		wantWheelFired(t, drainWheel(w, deadline+200), 2*blockRefs-1)
	}
}

func TestTimerWheelCancelEmptiesAnOpenedSlot(t *testing.T) {
	w := newTimerWheel[int](0)
	const deadline = 2 * wheelSlots
	w.Insert(deadline+2, 1)
	h := w.Insert(deadline+3, 2)
	if !w.Advance(deadline+1, 1, nil) {
		t.Fatal("one move did not leave the other entry to be moved")
	}
	w.Cancel(h)
	if err := checkTimerWheel(w); err != nil {
		t.Fatal(err)
	}
	w.Insert(deadline+3, 3)
	wantWheelFired(t, drainWheel(w, deadline+3), 1, 3)
}

// TestTimerWheelCancelsInOneTick takes entries out of the list of a near tick,
// from its ends and its middle.
func TestTimerWheelCancelsInOneTick(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cancel []int
		want   []int
	}{
		{"the first", []int{0}, []int{1, 2, 3, 9}},
		{"the first two", []int{0, 1}, []int{2, 3, 9}},
		{"one amid", []int{1}, []int{0, 2, 3, 9}},
		{"all amid, backwards", []int{2, 1}, []int{0, 3, 9}},
		{"the last", []int{3}, []int{0, 1, 2, 9}},
		{"all but one", []int{3, 0, 2}, []int{1, 9}},
		{"all", []int{2, 0, 3, 1}, []int{9}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newTimerWheel[int](0)
			var handles []timerHandle
			for v := range 4 {
				handles = append(handles, w.Insert(5, v))
			}
			for _, v := range tt.cancel {
				if got, ok := w.Cancel(handles[v]); got != v || !ok {
					t.Fatalf("Cancel of %d = %d, %v", v, got, ok)
				}
				if err := checkTimerWheel(w); err != nil {
					t.Fatal(err)
				}
			}
			w.Insert(5, 9)
			wantWheelFired(t, drainWheel(w, 5), tt.want...)
		})
	}
}

// What an interrupted cascade has brought near keeps its deadline, although the
// wheel does not stand there yet.
func TestTimerWheelGetInAnInterruptedCascade(t *testing.T) {
	const deadline = 5*wheelSlots + 7
	w := newTimerWheel[int](3)
	near, far := w.Insert(deadline, 1), w.Insert(deadline+1, 2)
	if !w.Advance(deadline-1, 1, nil) {
		t.Fatal("one move did not leave the other entry to be moved")
	}
	for range 2 {
		if at, v, ok := w.Get(near); at != deadline || v != 1 || !ok {
			t.Errorf("Get = %d, %d, %v, want deadline %d", at, v, ok, deadline)
		}
		if at, v, ok := w.Get(far); at != deadline+1 || v != 2 || !ok {
			t.Errorf("Get = %d, %d, %v, want deadline %d", at, v, ok, deadline+1)
		}
		w.Advance(deadline-1, 10, nil) // the rest
	}
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
	w.gen = maxGen - 1
	last, first := w.Insert(1000, 1), w.Insert(2000, 2)
	if last.gen != maxGen || first.gen != 1 {
		t.Fatalf("generations %d and %d, want %d and 1", last.gen, first.gen, maxGen)
	}
	for v, h := range []timerHandle{last, first} {
		if got, ok := w.Cancel(h); got != v+1 || !ok {
			t.Fatalf("Cancel of %+v = %d, %v, want %d", h, got, ok, v+1)
		}
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

func slabChunksHeld[E any](s *timerSlab[E]) (n int) {
	for _, mem := range s.mem {
		if mem != nil {
			n++
		}
	}
	return n
}

// A block is two cache lines, the second one of refs, and an entry with an 8-byte
// value has no padding.
func TestTimerWheelSizes(t *testing.T) {
	if n := unsafe.Sizeof(timerBlock{}); n != 2*cacheLine {
		t.Errorf("a block takes %d bytes, want two cache lines", n)
	}
	if n := unsafe.Offsetof(timerBlock{}.refs); n != cacheLine {
		t.Errorf("the refs of a block begin at byte %d, want a cache line", n)
	}
	if n := unsafe.Sizeof(timerEntry[bodyRef]{}); n != 20 {
		t.Errorf("an entry of the near wheel takes %d bytes, want 20", n)
	}
}
