package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

// delayed holds the messages whose time has not come, in a timer wheel that
// counts milliseconds of the engine's clock, and one goroutine that sleeps
// until the next of them. The clock is monotonic: a wall clock that jumps
// moves nothing.
type delayed struct {
	eng *Engine

	mu    sync.Mutex
	wheel *timerWheel[[]byte] // packed messages
	alarm uint64              // when the goroutine wakes by itself; 0: it is awake
	bytes int64               // of the packed messages in the wheel
	over  bool                // nothing is taken any more

	earlier chan struct{} // something is due before the alarm
	stop    chan struct{} // end once nothing is due
	abort   chan struct{} // end now
	done    sync.WaitGroup
}

const (
	// advanceBudget is how many entries the wheel moves before the lock is
	// given up to those who schedule.
	advanceBudget = 512

	// retryFull is how long a message whose time has come waits when the
	// engine is saturated.
	retryFull = 10 * time.Millisecond

	// stampDigits is the length of a time in milliseconds since the epoch,
	// until the year 2286.
	stampDigits = 13
)

func newDelayed(e *Engine) *delayed {
	return &delayed{
		eng: e, wheel: newTimerWheel[[]byte](0),
		earlier: make(chan struct{}, 1), stop: make(chan struct{}), abort: make(chan struct{}),
	}
}

// A waiting message is one allocation: the lengths, the token, the frame.
const packedHead = 8

func pack(token string, f Frame, stamp int) []byte {
	p := make([]byte, packedHead, packedHead+len(token)+len(f.wire))
	binary.NativeEndian.PutUint32(p, uint32(len(token)))
	binary.NativeEndian.PutUint32(p[4:], uint32(stamp))
	return append(append(p, token...), f.wire...)
}

// unpack takes a message apart. A stamp of at least 0 is where the time goes.
func unpack(p []byte) (token string, wire []byte, stamp int) {
	n := int(binary.NativeEndian.Uint32(p))
	stamp = int(int32(binary.NativeEndian.Uint32(p[4:])))
	p = p[packedHead:]
	return string(p[:n]), p[n:], stamp
}

// add lets a message wait until due, in milliseconds of the engine's clock.
func (d *delayed) add(due uint64, packed []byte) error {
	d.mu.Lock()
	switch {
	case d.over:
		d.mu.Unlock()
		return ErrStopping
	case d.wheel.Len() >= d.eng.opts.MaxDelayed,
		d.bytes+int64(len(packed)) > d.eng.opts.MaxTotalPendingBytes:
		d.mu.Unlock()
		return ErrTooMany
	}
	d.bytes += int64(len(packed))
	d.wheel.Insert(due, packed)
	wake := d.alarm != 0 && due < d.alarm
	d.mu.Unlock()
	if wake {
		select {
		case d.earlier <- struct{}{}:
		default: // it is on its way already
		}
	}
	return nil
}

// start runs the goroutine until halt.
func (d *delayed) start() {
	d.done.Add(1)
	go d.run()
}

// halt takes no more messages, lets the goroutine send what is due until ctx
// ends, waits for it, and returns how many messages are left behind.
func (d *delayed) halt(ctx context.Context) (left int) {
	d.mu.Lock()
	d.over = true
	d.mu.Unlock()
	close(d.stop)
	abort := context.AfterFunc(ctx, func() { close(d.abort) })
	d.done.Wait()
	abort()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.wheel.Len()
}

func (d *delayed) run() {
	defer d.done.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var due [][]byte
	for stopped := false; ; {
		now := uint64(d.eng.now())
		d.mu.Lock()
		d.alarm = 0
		more := d.wheel.Advance(now, advanceBudget, func(p []byte) {
			due = append(due, p)
			d.bytes -= int64(len(p))
		})
		next, ok := d.wheel.Next()
		if !more && len(due) == 0 {
			d.alarm = ^uint64(0)
			if ok {
				d.alarm = next
			}
		}
		d.mu.Unlock()

		for i, p := range due {
			if !d.deliver(p) {
				d.eng.stats.delayedLost.Add(int64(len(due) - i))
				return
			}
			due[i] = nil
		}
		if more || len(due) > 0 {
			due = due[:0]
			continue
		}
		if stopped {
			return
		}
		wait := time.Hour
		if ok {
			wait = min(wait, time.Duration(next-min(next, now))*time.Millisecond)
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

// deliver sends a message whose time has come. An engine that is saturated
// holds it, and those behind it, back; only the end of a stop's time makes it give
// up.
func (d *delayed) deliver(packed []byte) bool {
	token, wire, stamp := unpack(packed)
	if stamp >= 0 {
		// Nobody else has the frame yet.
		stampTime(wire[len(wire)-stamp:], time.Now())
	}
	f := Frame{wire: wire}
	for {
		select {
		case <-d.abort:
			return false
		default:
		}
		var err error
		if token == "" {
			_, err = d.eng.broadcast(f)
		} else {
			_, err = d.eng.send(token, f)
		}
		if errors.Is(err, errNeverFits) {
			d.eng.stats.delayedLost.Add(1)
			d.eng.opts.Logger.Warn("a delayed message is lost", "error", err)
			return true
		}
		if !errors.Is(err, ErrSaturated) {
			return err == nil
		}
		select {
		case <-d.abort:
			return false
		case <-time.After(retryFull):
		}
	}
}

// stampTime writes t over the 13 digits at the start of p, in milliseconds
// since the epoch.
func stampTime(p []byte, t time.Time) {
	ms := t.UnixMilli()
	for i := stampDigits - 1; i >= 0; i-- {
		p[i] = byte('0' + ms%10)
		ms /= 10
	}
}

// len is the number of messages waiting.
func (d *delayed) len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.wheel.Len()
}
