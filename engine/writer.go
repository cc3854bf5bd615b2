package engine

import "golang.org/x/sys/unix"

// writer joins and sends. Each goroutine that writes has its own; the
// connection's mu is held whenever one works on it.
type writer struct {
	eng  *Engine
	join []byte // frames joined for one connection

	// The last run of several broadcasts joined: in a sweep nearly every
	// connection lacks the same ones.
	runFrom, runTo *entry
	run            []byte

	// Sent since the last report.
	frames, bytes int64
}

const (
	// maxJoin bounds how much is copied together for one write: past it the
	// copy costs more than the write it saves.
	maxJoin = 64 << 10

	// maxScratch is the largest buffer that is kept for reuse.
	maxScratch = 1 << 20
)

// report adds what was sent to the engine's counters, and lets go of the
// broadcasts it remembers: holding an entry holds all that follow.
func (w *writer) report() {
	w.runFrom, w.runTo = nil, nil
	if w.frames > 0 || w.bytes > 0 {
		w.eng.stats.framesOut.Add(w.frames)
		w.eng.stats.bytesOut.Add(w.bytes)
		w.frames, w.bytes = 0, 0
	}
}

// drain sends what c lacks until nothing is left or the socket is full; of a
// closing connection, what still goes out of it. The caller holds c.mu; c is
// not blocked.
func (w *writer) drain(c *Conn) {
	for progress := false; ; progress = true {
		chunk, to := w.gather(c)
		if chunk == nil {
			c.settle()
			return
		}
		n, errno := sendNow(int(c.fd), chunk)
		if errno != 0 && errno != unix.EAGAIN {
			c.lose()
			return
		}
		w.bytes += int64(n)
		if to != nil && n == len(chunk) {
			w.frames += int64(to.seq - c.cursor.seq)
			c.cursor = to
			continue
		}
		w.advance(c, n)
		if n < len(chunk) {
			c.block(progress || n > 0)
			return
		}
	}
}

// flush lets a worker send what c lacks.
func (w *writer) flush(c *Conn, listed bool) {
	c.mu.Lock()
	if listed {
		c.dirty = false
	}
	if c.state == stateOpen {
		if !c.blocked {
			w.drain(c)
		}
		if c.state == stateOpen && c.blocked && c.overdue() {
			c.closeLocked(CloseSlow, 0, "")
		}
	}
	c.mu.Unlock()
}

// gather returns the bytes to send next, joining small frames. If they are
// exactly the broadcasts up to some entry, it returns that too.
func (w *writer) gather(c *Conn) (chunk []byte, to *entry) {
	if c.out != nil && len(c.out.rest) > 0 {
		return c.out.rest, nil
	}
	b := c.backlog()
	first, _ := b.next()
	if first == nil {
		if o := c.out; o != nil && o.closing != nil {
			o.rest, o.closing, o.last = o.closing, nil, true
			return o.rest, nil
		}
		return nil, nil
	}
	only := len(b.queue) == 0 && (c.out == nil || c.out.head == len(c.out.queue))
	if only && c.cursor == w.runFrom && w.runTo.next.Load() == nil {
		return w.run, w.runTo
	}
	ahead := b
	second, _ := ahead.next()
	if second == nil || len(first)+len(second) > maxJoin {
		if only {
			to = b.cursor
		}
		return first, to
	}
	join := w.join[:0]
	if only {
		join = w.run[:0]
	}
	join = append(join, first...)
	for {
		peek := b
		wire, _ := peek.next()
		if wire == nil || len(join)+len(wire) > maxJoin {
			break
		}
		join = append(join, wire...)
		b = peek
	}
	if only {
		w.run, w.runFrom, w.runTo = join, c.cursor, b.cursor
		return join, b.cursor
	}
	w.join = join
	return join, nil
}

// advance records that the socket took n bytes of c's backlog.
func (w *writer) advance(c *Conn, n int) {
	o := c.out
	freed := 0
	if o != nil && len(o.rest) > 0 {
		k := min(n, len(o.rest))
		o.rest = o.rest[k:]
		n -= k
		if len(o.rest) == 0 {
			freed += o.restOf.release(closeNone)
			o.rest, o.restOf = nil, unicast{}
			w.frames++
		}
	}
	b := c.backlog()
	for n > 0 {
		wire, at := b.next()
		var u unicast // of a broadcast: nothing
		if at != nil {
			u, *at = *at, unicast{}
			o.head++
			o.queued -= len(wire)
		}
		if n < len(wire) {
			o = c.outbox()
			o.rest, o.restOf = wire[n:], unicast{cost: u.cost, share: u.share}
			break
		}
		n -= len(wire)
		freed += u.release(closeNone)
		w.frames++
	}
	c.cursor = b.cursor
	w.eng.waiting.Add(-int64(freed))
}
