package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// delayed holds the messages whose time has not come. It counts milliseconds
// of the engine's clock, which is monotonic: a wall clock that jumps moves
// nothing.
//
// There are two timer wheels. The near one holds whole messages (bodies.go).
// With a vault a message that is not due within loadAhead lies in the far one,
// which holds little more than its key; its body is on disk alone and is read
// in time (loadahead.go). One goroutine drives both (fire.go).
type delayed struct {
	eng    *Engine
	vault  Vault // nil: everything is near
	missed missed
	recent recentKeys // cancelled, without a vault
	sent   sentLog
	unread time.Time // when it was last logged that the vault does not read; the goroutine's

	listing sync.Mutex // held by the one that scans the wheels, before mu

	mu       sync.Mutex
	near     *timerWheel[bodyRef]
	bodies   bodies // of the near wheel
	far      *timerWheel[farEntry]
	where    handles             // of all that waits, and for a moment of what was sent
	loaded   uint64              // up to here no message is in the far wheel or being loaded
	clamped  uint64              // the earliest message that is in the far wheel later than it is due; noTick for none
	loading  []loadingItem       // left the far wheel, not yet in the near one
	held     []dueItem           // left the near wheel while the engine is saturated; see sendHeld
	retry    uint64              // nothing is read before, since the vault could not
	bytes    int64               // of the messages in the near wheel and of those held
	reserved int                 // being written to the vault
	undoing  map[uint64]struct{} // keys of messages that are being cancelled, or tried to send after they were held
	undone   sync.Cond           // one of them is not any more
	wakesAt  uint64              // when the alarm rings; 0: the goroutine is awake
	over     bool                // nothing is taken any more

	rest      *time.Timer // see trimSoon
	trimmedAt int         // messages then

	alarm *alarm
	wake  chan struct{} // something is to be done
	stop  chan struct{} // end once nothing is due
	abort chan struct{} // end now
	done  sync.WaitGroup
}

// farEntry is a message on disk, without a pointer.
type farEntry struct {
	key   uint64
	tag   uint32 // see tagOf
	early uint32 // ms that it is due before its time in the wheel, at most
}

// Tags tell which messages a token may concern without reading them.
const (
	tagEverybody = 0 // no token
	tagSeveral   = 1 // several tokens: only the message says which
	tagLeast     = 2 // else a hash of the token, at least this
)

func (e *Engine) tagOf(tokens []string) uint32 {
	switch len(tokens) {
	case 0:
		return tagEverybody
	case 1:
		return max(tagLeast, uint32(e.hash(tokens[0])))
	}
	return tagSeveral
}

func newDelayed(e *Engine) *delayed {
	d := &delayed{
		eng: e, vault: e.opts.Vault,
		near: newTimerWheel[bodyRef](0), bodies: newBodies(), far: newTimerWheel[farEntry](0), clamped: noTick,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), abort: make(chan struct{}),
	}
	d.undoing, d.undone.L = make(map[uint64]struct{}), &d.mu
	if d.vault == nil {
		d.loaded = noTick - 1
	}
	return d
}

// NewKey returns a key for a message, larger than all before.
func (e *Engine) NewKey() uint64 { return e.lastKey.Add(1) }

// Schedule lets messages wait for their time, all or none of them. With a
// vault they and the receipt, which the engine does not look into, are safe on
// disk when it returns.
func (e *Engine) Schedule(batch []Delayed, receipt []byte) error {
	if e.stopping.Load() {
		return ErrStopping
	}
	for i := range batch {
		m := &batch[i]
		if m.Stamp >= 0 && m.Frame.payloadLen()-m.Stamp < stampDigits {
			return errors.New("engine: the stamp lies outside the payload")
		}
		if int64(m.Frame.Len()) > e.opts.MaxTotalPendingBytes {
			return e.counted(errNeverFits)
		}
	}
	if err := e.delayed.add(batch, receipt); err != nil {
		return e.counted(err)
	}
	e.stats.scheduled.Add(int64(len(batch)))
	return nil
}

// tick is the engine's time of t in milliseconds, never earlier. Unless a wall
// clock jumps, the start of the engine plus tick is ceilMilli.
func (e *Engine) tick(t time.Time) uint64 {
	if rest := time.Duration(t.Nanosecond()) % time.Millisecond; rest > 0 {
		t = t.Add(time.Millisecond - rest)
	}
	wait := max(0, t.Sub(e.began)) // of the longest Duration at most
	at := uint64(wait / time.Millisecond)
	if wait%time.Millisecond > 0 {
		at++
	}
	return at
}

func (d *delayed) add(batch []Delayed, receipt []byte) error {
	var bytes int64
	for i := range batch {
		bytes += int64(packedLen(&batch[i]))
	}
	d.mu.Lock()
	switch {
	case d.over:
		d.mu.Unlock()
		return ErrStopping
	case d.lenLocked()+d.reserved+len(batch) > d.eng.opts.MaxDelayed,
		d.vault == nil && d.bytes+bytes > d.eng.opts.MaxTotalPendingBytes:
		d.mu.Unlock()
		return ErrTooMany
	}
	d.reserved += len(batch)
	d.bytes += bytes // reserved too
	d.mu.Unlock()

	bodies := make([]packed, len(batch))
	err := d.store(batch, bodies, receipt)

	d.mu.Lock()
	d.reserved -= len(batch)
	d.bytes -= bytes
	defer d.mu.Unlock()
	switch {
	case err != nil:
		return err
	case d.over && d.vault == nil:
		return ErrStopping
	case d.over:
		return nil // safe for the next start
	}
	for i := range batch {
		d.insert(d.eng.tick(batch[i].Due), d.eng.tagOf(batch[i].Tokens), bodies[i])
	}
	d.trimSoon()
	return nil
}

// store packs the messages into bodies and gives them to the vault, if there is
// one.
func (d *delayed) store(batch []Delayed, bodies []packed, receipt []byte) error {
	keys, raw := make([]uint64, len(batch)), make([][]byte, len(batch))
	for i := range batch {
		keys[i] = batch[i].Key
		raw[i] = appendPacked(make([]byte, 0, packedLen(&batch[i])), &batch[i])
		bodies[i] = packedFrom(raw[i])
	}
	if d.vault == nil {
		return nil
	}
	if err := d.vault.Add(keys, raw, receipt); err != nil {
		return fmt.Errorf("%w: %w", ErrUnstored, err)
	}
	return nil
}

// insert lets a message wait until due: near, if it has to, else far. The
// caller holds mu.
func (d *delayed) insert(due uint64, tag uint32, body packed) {
	if due > d.loaded && len(d.loading) == 0 && d.bytes < loadAheadBytes {
		d.settleLoaded()
	}
	if due <= d.loaded {
		d.insertNear(due, body)
	} else {
		d.insertFar(due, body.key(), tag)
	}
}

func (d *delayed) insertNear(due uint64, body packed) {
	d.bytes += int64(len(body))
	d.where.put(body.key(), nearHandle(d.near.Insert(due, d.bodies.put(body))))
	d.wakeAt(due)
}

// leaveNear forgets the body, of size bytes when packed, of a message that has
// left the near wheel. The caller holds mu.
func (d *delayed) leaveNear(r bodyRef, size int) {
	d.bytes -= int64(size)
	d.bodies.drop(r)
	d.bodies.clean(d.liesAt, d.moveTo)
}

// liesAt reports whether the message that lay at r waits in the near wheel. The
// caller holds mu.
func (d *delayed) liesAt(key uint64, r bodyRef) bool {
	h, ok := d.find(key)
	if !ok || !h.isNear() {
		return false
	}
	_, _, at, _ := d.near.At(h.index())
	return at == r
}

// moveTo notes that the body of a message in the near wheel lies elsewhere. The
// caller holds mu.
func (d *delayed) moveTo(key uint64, r bodyRef) {
	h, _ := d.where.get(key)
	timer, _, _, _ := d.near.At(h.index())
	d.near.Replace(timer, r)
}

// insertFar lets a message on disk wait. The far wheel's time is ahead of the
// clock: what is due before it lies at that time, and remembers by how much.
func (d *delayed) insertFar(due uint64, key uint64, tag uint32) {
	e := farEntry{key: key, tag: tag}
	if due < d.far.now {
		e.early = uint32(d.far.now - due)
		d.clamped = min(d.clamped, due)
	}
	d.where.put(key, farHandle(d.far.Insert(due, e)))
	d.wakeAt(loadTime(due))
}

// wakeAt wakes the goroutine if it sleeps for longer than until at. The caller
// holds mu.
func (d *delayed) wakeAt(at uint64) {
	if d.wakesAt > 0 && at < d.wakesAt {
		d.rouse()
	}
}

// rouse wakes the goroutine.
func (d *delayed) rouse() {
	select {
	case d.wake <- struct{}{}:
	default: // it is on its way already
	}
}

// start runs the goroutine until halt. It needs the alarm.
func (d *delayed) start() {
	d.done.Add(1)
	go d.run()
}

// halt takes no more messages, lets the goroutine send what is due until ctx
// ends, waits for it, and returns how many messages are left.
func (d *delayed) halt(ctx context.Context) (left int) {
	d.mu.Lock()
	d.over = true
	if d.rest != nil {
		d.rest.Stop()
	}
	d.mu.Unlock()
	close(d.stop)
	abort := context.AfterFunc(ctx, func() { close(d.abort) })
	d.done.Wait()
	abort()
	return d.len()
}

// forget takes out of the vault, and of where, what was sent. In where it stood
// with a handle of an entry that has left.
func (d *delayed) forget(keys []uint64) {
	if d.vault != nil {
		d.vault.Remove(keys)
	}
	for part := range slices.Chunk(keys, fireBatch) {
		d.mu.Lock()
		for _, key := range part {
			d.where.remove(key)
		}
		d.mu.Unlock()
	}
}

// forgetAll forgets all that was sent. The goroutine has ended, and nothing waits
// for a socket any more.
func (d *delayed) forgetAll() { d.sent.forget(d.forget, noTick) }

// len is the number of messages waiting.
func (d *delayed) len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lenLocked()
}

func (d *delayed) lenLocked() int {
	n := d.near.Len() + d.far.Len() + len(d.loading)
	for i := range d.held {
		if d.held[i].body != "" {
			n++
		}
	}
	return n
}
