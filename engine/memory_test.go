package engine

import (
	"runtime"
	"testing"
)

// Memory is given back when the number of connections has changed by a lot,
// and only then.
func TestTrimMemory(t *testing.T) {
	e := withoutSockets(1)
	for _, step := range []struct {
		open int64
		want uint32 // collections
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
		if n := after.NumForcedGC - before.NumForcedGC; n != step.want {
			t.Errorf("at %d connections: %d collections, want %d", step.open, n, step.want)
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
