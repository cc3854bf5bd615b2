//go:build !race

package engine

import "testing"

// In steady state inserts, cancels, cascades and expiries allocate nothing.
func TestTimerWheelDoesNotAllocate(t *testing.T) {
	w := newTimerWheel[string](0)
	fire := func(string) {}
	delay := uint64(0)
	step := func() {
		for range 100 {
			delay = (delay*7919 + 13) % 5000
			w.Insert(w.now+delay, "fires")
			w.Cancel(w.Insert(w.now+delay*delay, "cancelled"))
		}
		for w.Advance(w.now+100, 16, fire) {
		}
	}
	for range 200 {
		step()
	}
	if n := testing.AllocsPerRun(200, step); n != 0 {
		t.Fatalf("%v allocations a step", n)
	}
}
