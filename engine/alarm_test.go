package engine

import (
	"testing"
	"time"
)

// An alarm rings once for each time that it is set for, not before, and not for
// one that another took the place of.
func TestAlarm(t *testing.T) {
	s := serve(t, scripted{}, nil)
	rings := make(chan time.Time, 16)
	a, err := newAlarm(s.loops[0], func() { rings <- time.Now() })
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		done := make(chan struct{})
		s.loops[0].run(func() {
			s.loops[0].poll.remove(a.fd)
			a.close()
			close(done)
		})
		<-done
	}()
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
		a.set(time.Hour)
		began := time.Now()
		a.set(d)
		if late := rung().Sub(began); late < d {
			t.Errorf("set for %v, it rang after %v", d, late)
		}
	}
	a.set(time.Millisecond)
	rung()
	a.set(time.Hour)
	if len(rings) > 0 {
		t.Error("it rang more often than it was set for")
	}
}
