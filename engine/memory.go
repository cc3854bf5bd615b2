package engine

import (
	"runtime"
	"runtime/debug"
	"time"
)

const (
	// trimStep is the least change in the number of connections that is worth
	// a collection.
	trimStep = 1000

	// trimInterval is how long, in milliseconds, a loop that is never at rest
	// goes without a look.
	trimInterval = 60_000

	// trimDelayed is the least change in the number of delayed messages that is
	// worth a collection, and trimRest how long none may have come.
	trimDelayed = 10_000
	trimRest    = 200 * time.Millisecond
)

// trimMemory gives memory back to the system once many connections have come
// or gone. What they left behind is garbage, up to as much as the connections
// that stay; while these are idle nothing is allocated, and so nothing would
// be collected either. It is called when nobody comes to a loop any more and
// none of its connections is closing, or once a minute, and acts when the
// number of connections is a quarter off what it was the last time.
func (e *Engine) trimMemory() {
	open, last := e.open.Load(), e.trimmedAt.Load()
	if !worthTrimming(open, last, trimStep) || !e.trimmedAt.CompareAndSwap(last, open) {
		return
	}
	e.trim()
}

// trim gives memory back, that of pools too, which takes two collections. It
// ends by itself; Shutdown waits for it.
func (e *Engine) trim() {
	e.trims.Go(func() {
		runtime.GC()
		debug.FreeOSMemory()
	})
}

// worthTrimming reports whether a number is a quarter off what it was, and a
// step at least.
func worthTrimming(now, was, step int64) bool { return max(now-was, was-now) >= max(step, was/4) }

// trimSoon does the same for delayed messages, once many have come or gone and
// none does for a moment, or after a minute. The caller holds mu.
func (d *delayed) trimSoon() {
	n := d.lenLocked()
	if d.rest == nil && !d.over && worthTrimming(int64(n), int64(d.trimmedAt), trimDelayed) {
		d.trimAfter(int(trimInterval * time.Millisecond / trimRest))
	}
}

// trimAfter gives memory back at the first of so many looks at which no message
// has come or gone since the one before, or at the last. The caller holds mu.
func (d *delayed) trimAfter(looks int) {
	came, waited := d.eng.stats.scheduled.Load(), d.lenLocked()
	d.rest = time.AfterFunc(trimRest, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.rest = nil
		n := d.lenLocked()
		switch {
		case d.over: // the engine stops
		case looks > 1 && (n != waited || d.eng.stats.scheduled.Load() != came):
			d.trimAfter(looks - 1)
		default:
			d.trimmedAt = n
			d.eng.trim()
		}
	})
}
