package engine

import (
	"cmp"
	"slices"
)

// The engine's waiting bytes are bounded for all connections together. Past
// the bound it is those with full sockets that pay, the largest first, and not
// the publishers: a slow client must not keep messages from the others.

// reserve makes room for n more waiting bytes, at the cost of the slowest
// connections if need be.
func (e *Engine) reserve(n int64) bool {
	limit := e.opts.MaxTotalPendingBytes
	w := e.waiting.Add(n)
	if w <= limit {
		return true
	}
	if e.relieve(w-limit+limit/8) && e.waiting.Load() <= limit {
		return true
	}
	e.waiting.Add(-n)
	return false
}

// relieve closes the connections with full sockets that hold the most, until
// at least want bytes are free again. It reports whether it closed any.
func (e *Engine) relieve(want int64) bool {
	if !e.relieving.TryLock() {
		return false // somebody is at it
	}
	defer e.relieving.Unlock()
	type load struct {
		c     *Conn
		bytes int
	}
	var loads []load
	var conns []*Conn
	for _, l := range e.loops {
		conns = l.stalls.appendTo(conns)
	}
	for _, c := range conns {
		c.mu.Lock()
		if o := c.out; c.state == stateOpen && o != nil {
			bytes := o.restOf.holds()
			for _, u := range o.queue[o.head:] {
				bytes += u.holds()
			}
			if bytes > 0 {
				loads = append(loads, load{c, bytes})
			}
		}
		c.mu.Unlock()
	}
	slices.SortFunc(loads, func(a, b load) int { return cmp.Compare(b.bytes, a.bytes) })
	var freed int64
	for _, x := range loads {
		if freed >= want {
			break
		}
		x.c.mu.Lock()
		freed += int64(x.c.closeLocked(CloseOverload, 0, ""))
		x.c.mu.Unlock()
	}
	return freed > 0
}
