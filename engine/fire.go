package engine

import (
	"errors"
	"slices"
	"time"
)

const (
	// fireBatch is how many messages the wheel gives out before its lock is
	// given up to those who schedule.
	fireBatch = 512

	// retryFull is how long a message whose time has come waits when the
	// engine is saturated.
	retryFull = 10 * time.Millisecond
)

// run drives the wheels. It ends after halt.
func (d *delayed) run() {
	defer d.done.Done()
	f := firing{delayed: d}
	for stopped := false; !d.aborted(); {
		loaded := d.load()
		fired, ok := f.fire()
		if !ok {
			return
		}
		d.sent.forget(d.forget, uint64(d.eng.now()))
		if loaded || fired {
			continue
		}
		if stopped {
			return
		}
		wait := d.sleep()
		if wait <= 0 {
			continue
		}
		d.alarm.set(wait, 0)
		select {
		case <-d.wake:
		case <-d.stop:
			stopped = true // once more, for what has come due since
		}
	}
}

// sleep returns for how long there is nothing to do, an hour at most.
func (d *delayed) sleep() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, at := uint64(d.eng.now()), noTick
	if next, ok := d.near.Next(); ok {
		if at = max(next, d.missed.hold); next > d.sendable() {
			at = max(now+1, d.retry) // until what comes before it has been read
		}
	}
	if len(d.loading) > 0 {
		at = min(at, d.retry)
	} else if next, ok := d.farNext(); ok && d.roomLocked() {
		at = min(at, max(loadTime(next), d.retry))
	}
	if next, ok := d.sent.next(); ok {
		at = min(at, next)
	}
	at = min(at, now+uint64(time.Hour/time.Millisecond))
	d.wakesAt = at
	return time.Until(d.eng.began.Add(time.Duration(at) * time.Millisecond))
}

// firing is the memory of the goroutine that sends.
type firing struct {
	*delayed
	due    []dueItem // the batch that is being sent
	now    time.Time // when it began to be sent
	conns  []*Conn   // that it goes to, as far as fetch tells
	keys   []uint64  // of it, what was sent
	tokens []string
}

// dueItem is a message that has left the near wheel.
type dueItem struct {
	at   uint64  // when it was due, engine clock
	ref  bodyRef // see takeBodies
	body packed  // "" once it was sent or taken back
}

// fire sends a batch of what is due. It reports whether there was any; ok is
// false if the engine's stop ran out of time.
func (f *firing) fire() (fired, ok bool) {
	f.due, f.keys = f.due[:0], f.keys[:0]
	f.mu.Lock()
	now, budget, hold := uint64(f.eng.now()), f.missed.batch(), f.missed.hold
	if now < hold {
		f.mu.Unlock()
		return false, true
	}
	f.bodies.holdBack(now < f.sent.calm)
	more := f.near.Advance(min(now, f.sendable()), budget, func(r bodyRef) {
		f.bodies.fetch(r)
		f.due = append(f.due, dueItem{at: f.near.elapsed, ref: r})
	})
	f.takeBodies()
	f.trimSoon()
	f.mu.Unlock()
	f.fetch()

	missed := 0
	for _, it := range f.due {
		if f.missed.has(it.body) {
			missed++
		} else {
			f.sent.fired(max(it.at, hold), now) // not late is what had to wait for the clients
		}
	}
	if len(f.due) > 0 {
		f.sent.fired(now-f.eng.lag(now), now) // what was queued before has not gone out
	}
	f.now = time.Now() // of sending, for all of them
	ok = f.sendBatch()
	if len(f.keys) > 0 {
		f.sent.add(uint64(f.eng.now()), f.keys)
	}
	if !ok {
		return true, false
	}
	fired = more || len(f.due) > 0
	clear(f.due)
	return fired, f.missed.pace(f.delayed, missed, len(f.due))
}

// fetch begins to load from memory what the batch goes to, for all of it before
// any of it is needed.
func (f *firing) fetch() {
	for i := range f.due {
		if c := f.eng.fetchConn(f.due[i].body); c != nil {
			f.conns = append(f.conns, c)
		}
	}
	for _, c := range f.conns {
		c.fetch()
	}
	clear(f.conns)
	f.conns = f.conns[:0]
}

// takeBodies takes the messages of the batch, which have left the near wheel, out
// of what is kept for that. The caller holds mu.
func (f *firing) takeBodies() {
	for i := range f.due {
		it := &f.due[i]
		it.body = f.bodies.get(it.ref) // its frame goes out from there
	}
	for i := range f.due {
		f.leaveNear(f.due[i].ref, len(f.due[i].body))
	}
}

// sendBatch sends the batch. It reports false if the engine's stop ran out of
// time.
func (f *firing) sendBatch() bool {
	for i := range f.due {
		switch err := f.send(f.due[i].body); {
		case err == nil:
		case errors.Is(err, ErrSaturated):
			return f.sendHeld(f.due[i:])
		default:
			if f.vault == nil {
				f.eng.stats.delayedLost.Add(int64(len(f.due) - i))
			}
			return false
		}
	}
	return true
}

// sendHeld sends a batch for which the engine is too saturated: it holds back
// the first message, and those behind it, until there is room. Meanwhile they
// wait as before: they are looked up, listed and taken back. Only the end of a
// stop's time makes it give up.
func (f *firing) sendHeld(items []dueItem) bool {
	f.mu.Lock()
	f.held = items
	for i := range items {
		f.where.put(items[i].body.key(), beingHeld)
		f.bytes += int64(len(items[i].body))
	}
	f.mu.Unlock()
	for i := range items {
		for !f.trySendHeld(&items[i]) {
			if !f.pause(retryFull) {
				return false
			}
		}
	}
	f.mu.Lock()
	f.held = nil
	f.mu.Unlock()
	return true
}

// trySendHeld sends a message that is held, unless it was taken back. It
// reports false if that is to be tried again. Who asks for the message meanwhile
// waits for the outcome.
func (f *firing) trySendHeld(it *dueItem) (done bool) {
	f.mu.Lock()
	if it.body == "" {
		f.mu.Unlock()
		return true
	}
	p, key := it.body, it.body.key()
	if _, undoing := f.undoing[key]; undoing {
		f.mu.Unlock()
		return false
	}
	f.undoing[key] = struct{}{}
	f.mu.Unlock()

	f.now = time.Now()
	err := f.send(p)

	f.mu.Lock()
	delete(f.undoing, key)
	if err == nil {
		f.where.remove(key)
		f.bytes -= int64(len(p))
		it.body = ""
	}
	f.mu.Unlock()
	f.undone.Broadcast()
	return err == nil
}

// heldItem is the message that is held under key. The caller holds mu.
func (d *delayed) heldItem(key uint64) *dueItem {
	i := slices.IndexFunc(d.held, func(it dueItem) bool { return it.body != "" && it.body.key() == key })
	return &d.held[i]
}

// send sends a message whose time has come. It returns ErrSaturated if that can
// be tried again, ErrStopping if not.
func (f *firing) send(p packed) (err error) {
	if f.aborted() {
		return ErrStopping
	}
	var start int
	f.tokens, start = p.tokens(f.tokens[:0])
	frame := Frame{wire: p.wire(start, f.now)}
	if len(f.tokens) == 0 {
		_, err = f.eng.broadcast(frame)
	} else {
		_, err = f.eng.send(frame, f.tokens...)
	}
	if errors.Is(err, errNeverFits) {
		f.eng.stats.delayedLost.Add(1)
		f.eng.opts.Logger.Warn("a delayed message is lost", "error", err)
		err = nil
	} else if err == nil && f.missed.has(p) {
		f.eng.stats.missedSent.Add(1)
	}
	if err == nil {
		f.keys = append(f.keys, p.key())
	}
	return err
}

// aborted reports whether the engine's stop ran out of time.
func (d *delayed) aborted() bool {
	select {
	case <-d.abort:
		return true
	default:
		return false
	}
}

// pause waits; it reports false if the engine's stop runs out of time.
func (d *delayed) pause(t time.Duration) bool {
	select {
	case <-d.abort:
		return false
	case <-time.After(t):
		return true
	}
}
