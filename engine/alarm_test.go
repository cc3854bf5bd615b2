package engine

import (
	"testing"
	"time"
)

// An alarm rings once for each time that it is set for, not before, and not for
// one that another took the place of; or again and again until it is set for never.
func TestAlarm(t *testing.T) {
	s := serve(t, scripted{}, nil)
	rings := make(chan time.Time, 16)
	a, err := newAlarm(s.loops[0].poll, func() { rings <- time.Now() })
	if err != nil {
		t.Fatal(err)
	}
	defer onLoop(s.loops[0], func() {
		s.loops[0].poll.remove(a.fd)
		a.close()
	})
	rung := func() (at time.Time) {
		t.Helper()
		select {
		case at = <-rings:
		case <-time.After(patience):
			t.Fatal("it does not ring")
		}
		return at
	}
	for _, d := range []time.Duration{time.Nanosecond, 3 * time.Millisecond} {
		a.set(time.Hour, 0)
		began := time.Now()
		a.set(d, 0)
		if after := rung().Sub(began); after < d {
			t.Errorf("set for %v, it rang after %v", d, after)
		}
	}
	a.set(time.Millisecond, 0)
	rung()
	a.set(time.Hour, 0)
	if len(rings) > 0 {
		t.Error("it rang more often than it was set for")
	}
	a.set(time.Millisecond, time.Millisecond)
	for range 3 {
		rung()
	}
	a.set(0, 0)
}
