package engine

import "time"

// A time.Time has two readings, of the wall clock and of the monotonic one, and
// the processor can be taken away between the two. A message that is due at a
// time by the one waits by the other: if they are apart, it changes places with
// its neighbours. So the engine begins in the middle of a millisecond, and what
// has the same due time has the same tick as long as they are less than half a
// millisecond apart.
const (
	// clocksApart is how far the readings of Now may be apart.
	clocksApart = 100 * time.Microsecond

	// clockTries bounds the search on a machine whose clocks are slow.
	clockTries = 20
)

// Now is the time, read from both clocks in nearly the same instant. From it the
// Due of a Delayed is to be reckoned.
func Now() time.Time {
	before := time.Now()
	for range clockTries {
		t := time.Now() // both readings come after that of before
		if t.Sub(before) < clocksApart {
			return t
		}
		before = t
	}
	return before
}

// betweenTicks moves t into the middle of a millisecond of the wall clock.
func betweenTicks(t time.Time) time.Time {
	return t.Add(time.Millisecond/2 - time.Duration(t.Nanosecond())%time.Millisecond)
}
