package engine

import (
	"runtime"
	"testing"
	"time"
)

// Memory is given back when the number of connections has changed by a lot,
// and only then.
func TestTrimMemory(t *testing.T) {
	e := withoutSockets(1)
	for _, step := range []struct {
		open int64
		want uint32 // times, of two collections each
	}{
		{0, 0}, {trimStep - 1, 0}, {trimStep, 1}, {trimStep, 0}, {2*trimStep - 1, 0}, {2 * trimStep, 1},
		{100 * trimStep, 1}, {124 * trimStep, 0}, {125 * trimStep, 1}, {100 * trimStep, 0}, {0, 1}, {0, 0},
	} {
		e.open.Store(step.open)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		e.trimMemory()
		e.trims.Wait()
		runtime.ReadMemStats(&after)
		if n := after.NumForcedGC - before.NumForcedGC; n != 2*step.want {
			t.Errorf("at %d connections: %d collections, want %d", step.open, n, 2*step.want)
		}
	}
}

// When nobody comes any more, what the handshakes left behind is given back.
func TestMemoryIsTrimmedAfterARamp(t *testing.T) {
	s := serve(t, identifying(), func(o *Options) { o.Loops = 1 })
	s.open.Add(trimStep) // as if so many had come before
	defer s.open.Add(-trimStep)
	s.dial("last")
	await(t, "memory is trimmed", func() bool { return s.trimmedAt.Load() == trimStep+1 })
}

// And so is what accepting delayed messages has left behind, and what is left of
// them when they are gone.
func TestMemoryIsTrimmedAfterDelayedMessages(t *testing.T) {
	s := serve(t, scripted{}, nil)
	d := s.delayed
	trimmedAt := func() int {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.trimmedAt
	}
	batch := make([]Delayed, 2*trimDelayed)
	for i := range batch {
		batch[i] = Delayed{Key: s.NewKey(), Due: Now().Add(time.Hour), Frame: textFrame("m"), Stamp: -1}
	}
	if err := s.Schedule(batch, nil); err != nil {
		t.Fatal(err)
	}
	await(t, "memory is trimmed", func() bool { return trimmedAt() == len(batch) })
	for i := range batch[1:] {
		if err := s.Cancel(batch[i].Key); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "it is trimmed again", func() bool { return trimmedAt() <= trimDelayed })
}
