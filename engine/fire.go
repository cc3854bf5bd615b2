package engine

import (
	"errors"
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
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	f := firing{delayed: d}
	for stopped := false; ; {
		loaded, ok := d.load()
		if !ok {
			return
		}
		fired, ok := f.fire()
		if !ok {
			return
		}
		d.sent.forget(d.vault, uint64(d.eng.now()))
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
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-d.earlier:
		case <-d.stop:
			stopped = true // once more, for what has come due since
		}
	}
}

// sleep returns how long there is nothing to do, and sets the alarm.
func (d *delayed) sleep() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, at := uint64(d.eng.now()), noTick
	if next, ok := d.near.Next(); ok {
		at = max(next, d.missed.hold)
	}
	if next, ok := d.farNext(); ok && d.roomLocked() {
		at = min(at, loadTime(next))
	}
	if next, ok := d.sent.next(); ok {
		at = min(at, next)
	}
	d.alarm = at
	if at <= now {
		return 0
	}
	return time.Duration(min(at-now, uint64(time.Hour/time.Millisecond))) * time.Millisecond
}

// firing is the memory of the goroutine that sends.
type firing struct {
	*delayed
	due    []packed
	keys   []uint64 // of the batch that is being sent
	tokens []string
}

// fire sends a batch of what is due. It reports whether there was any; ok is
// false if the engine's stop ran out of time.
func (f *firing) fire() (fired, ok bool) {
	f.due, f.keys = f.due[:0], f.keys[:0]
	f.mu.Lock()
	now, budget := uint64(f.eng.now()), f.missed.batch()
	if now < f.missed.hold {
		f.mu.Unlock()
		return false, true
	}
	more := f.near.Advance(min(now, f.sendable()), budget, func(p packed) {
		f.due = append(f.due, p)
		f.bytes -= int64(len(p))
		f.where.remove(p.key())
	})
	f.mu.Unlock()

	missed := 0
	for i, p := range f.due {
		if !f.deliver(p) {
			if f.vault == nil {
				f.eng.stats.delayedLost.Add(int64(len(f.due) - i))
			}
			f.remember()
			return true, false
		}
		f.keys = append(f.keys, p.key())
		if f.missed.is(p) {
			missed++
		}
		f.due[i] = ""
	}
	f.remember()
	return more || len(f.due) > 0, f.missed.pace(f.delayed, missed, len(f.due))
}

// remember notes what was sent, to be taken out of the vault.
func (f *firing) remember() {
	if f.vault != nil && len(f.keys) > 0 {
		f.sent.add(uint64(f.eng.now()), f.keys)
	}
}

// deliver sends a message whose time has come. An engine that is saturated
// holds it, and those behind it, back; only the end of a stop's time makes it
// give up.
func (f *firing) deliver(p packed) bool {
	var start int
	f.tokens, start = p.tokens(f.tokens[:0])
	frame := Frame{wire: p.wire(start, time.Now())}
	for {
		select {
		case <-f.abort:
			return false
		default:
		}
		var err error
		if len(f.tokens) == 0 {
			_, err = f.eng.broadcast(frame)
		} else {
			_, err = f.eng.send(frame, f.tokens...)
		}
		if errors.Is(err, errNeverFits) {
			f.eng.stats.delayedLost.Add(1)
			f.eng.opts.Logger.Warn("a delayed message is lost", "error", err)
			return true
		}
		if !errors.Is(err, ErrSaturated) {
			return err == nil
		}
		if !f.pause(retryFull) {
			return false
		}
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
