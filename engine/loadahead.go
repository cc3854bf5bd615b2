package engine

import (
	"math"
	"slices"
	"time"
)

const (
	// loadAhead is how long before its time, in milliseconds, a message is
	// read from disk. A wake-up reads what is due within all of it and comes
	// again when something is due within half, so that a steady stream is read
	// in batches.
	loadAhead = 2000

	// loadAheadBytes is how much may wait in memory because it was read ahead.
	// What is due behind that is read when there is room again.
	loadAheadBytes = 64 << 20

	// loadBatch is how many messages are read at once. It bounds what a batch
	// of large ones adds to loadAheadBytes.
	loadBatch = 64

	// retryLoad is when, in milliseconds, a disk that does not read is asked
	// again. Meanwhile what was read before goes out.
	retryLoad = 1000

	// bearUnread is for how long after its time, in milliseconds, a message
	// that cannot be read holds up those behind it, for the sake of the order.
	// Then it is put aside for as long, and so is at once what cannot be read
	// where others can: a bad spot of the disk must not stop everything.
	bearUnread = 10_000

	noTick = ^uint64(0) // after everything
)

// loadingItem is a message on its way from the disk to the near wheel, or one
// that could not be read and is tried again. It does not change.
type loadingItem struct {
	farEntry
	due    uint64
	stated int64 // the same; but negative if it was due before the engine began
}

// loadTime is when a message of the far wheel has to be read.
func loadTime(due uint64) uint64 { return due - min(due, loadAhead/2) }

// farNext is a time before which no message of the far wheel is due. The
// caller holds mu.
func (d *delayed) farNext() (at uint64, ok bool) {
	at, ok = d.far.Next()
	return min(at, d.clamped), ok
}

// settleLoaded moves loaded as far as the far wheel allows. The caller holds
// mu; nothing is being loaded.
func (d *delayed) settleLoaded() {
	to := uint64(d.eng.now()) + loadAhead
	if next, ok := d.farNext(); ok {
		to = min(to, next-min(next, 1))
	}
	d.loaded = max(d.loaded, to)
}

// load reads a batch of what is due soon into the near wheel, or once more what
// it could not read before. It reports whether it did either.
func (d *delayed) load() bool {
	d.mu.Lock()
	d.wakesAt = 0
	now := uint64(d.eng.now())
	if now < d.retry || len(d.loading) == 0 && !d.beginLoad(now) {
		d.mu.Unlock()
		return false
	}
	items := d.loading
	d.mu.Unlock()

	answers, err := d.read(items)

	d.mu.Lock()
	defer d.mu.Unlock()
	now = uint64(d.eng.now()) // the disk may have taken its time
	some := slices.ContainsFunc(answers, func(a loadAnswer) bool { return a.known })
	if err != nil && !some {
		d.retry = now + retryLoad
	}
	d.loading = d.loading[:0]
	for i, it := range items {
		h, waits := d.where.get(it.key)
		switch {
		case !waits || h != beingLoaded: // cancelled meanwhile
		case answers[i].body != "":
			d.insertNear(it.due, answers[i].body)
		case err == nil || answers[i].known:
			d.where.remove(it.key)
			d.eng.stats.delayedLost.Add(1)
		case some || it.due+bearUnread <= now:
			d.putAside(it, now)
		default:
			d.loading = append(d.loading, it) // to its place or one before
		}
	}
	if len(d.loading) == 0 {
		d.settleLoaded()
	}
	return true
}

// beginLoad moves a batch of what is due soon from the far wheel to loading. It
// reports whether there is any, and room for it. The caller holds mu.
func (d *delayed) beginLoad(now uint64) bool {
	next, some := d.farNext()
	if !some { // what held it back may have been cancelled
		d.clamped = noTick
		d.settleLoaded()
	}
	if !some || loadTime(next) > now || !d.roomLocked() {
		return false
	}
	more := d.far.Advance(now+loadAhead, loadBatch, func(e farEntry) {
		stated := int64(d.far.elapsed) - int64(e.early)
		due := uint64(max(0, stated))
		d.loading = append(d.loading, loadingItem{farEntry: e, due: due, stated: stated})
		d.where.put(e.key, beingLoaded)
	})
	if !more {
		d.clamped = noTick
	}
	return true
}

// putAside lets a message that cannot be read wait in the far wheel, where it
// holds up nobody. The caller holds mu.
func (d *delayed) putAside(it loadingItem, now uint64) {
	at := now + loadAhead + bearUnread
	it.early = uint32(min(int64(at)-it.stated, math.MaxUint32))
	d.where.put(it.key, farHandle(d.far.Insert(at, it.farEntry)))
}

// roomLocked reports whether more may be read ahead. If nothing can be sent as
// it is, there is always room. The caller holds mu.
func (d *delayed) roomLocked() bool {
	if d.bytes < loadAheadBytes {
		return true
	}
	next, ok := d.near.Next()
	return !ok || next > d.sendable()
}

// sendable is up to when the near wheel may be worked off. Of the tick behind
// loaded only the first messages can be near; those that the far wheel still
// has of it come after them.
func (d *delayed) sendable() uint64 { return d.loaded + 1 }

// loadAnswer is what the vault says of a message: nothing, a body, or, with
// known, that it is damaged.
type loadAnswer struct {
	body  packed
	known bool
}

// read asks the vault for items. Those that err leaves without an answer may be
// read another time.
func (d *delayed) read(items []loadingItem) (answers []loadAnswer, err error) {
	log := d.eng.opts.Logger
	keys := make([]uint64, len(items))
	for i := range items {
		keys[i] = items[i].key
	}
	answers = make([]loadAnswer, len(items))
	at := 0
	err = d.vault.Load(keys, func(key uint64, body []byte, err error) {
		for items[at].key != key {
			at++
		}
		p := packed(body)
		if err == nil {
			err = p.check()
		}
		if err != nil {
			log.Error("a delayed message is damaged on disk and is not sent", "key", key, "error", err)
			p = ""
		}
		answers[at] = loadAnswer{p, true}
	})
	if now := time.Now(); err != nil && now.Sub(d.unread) >= time.Minute {
		d.unread = now
		log.Error("cannot read delayed messages from disk; they wait, and are sent when it can", "error", err)
	}
	return answers, err
}
