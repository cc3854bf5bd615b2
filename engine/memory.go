package engine

import "runtime/debug"

const (
	// trimStep is the least change in the number of connections that is worth
	// a collection.
	trimStep = 1000

	// trimInterval is how long, in milliseconds, a loop that is never at rest
	// goes without a look.
	trimInterval = 60_000
)

// trimMemory gives memory back to the system once many connections have come
// or gone. What they left behind is garbage, up to as much as the connections
// that stay; while these are idle nothing is allocated, and so nothing would
// be collected either. It is called when nobody comes to a loop any more and
// none of its connections is closing, or once a minute, and acts when the
// number of connections is a quarter off what it was the last time.
func (e *Engine) trimMemory() {
	open, last := e.open.Load(), e.trimmedAt.Load()
	if max(open-last, last-open) < max(trimStep, last/4) || !e.trimmedAt.CompareAndSwap(last, open) {
		return
	}
	// Ends by itself; Shutdown waits for it.
	e.trims.Go(debug.FreeOSMemory)
}
