package engine

import "time"

const (
	// loadAhead is how long before its time, in milliseconds, a message is
	// read from disk. A wake-up reads what is due within all of it and comes
	// again when something is due within half, so that a steady stream is read
	// in batches.
	loadAhead = 1000

	// loadAheadBytes is how much may wait in memory because it was read ahead.
	// What is due behind that is read when there is room again.
	loadAheadBytes = 64 << 20

	// loadBatch is how many messages are read at once. It bounds what a batch
	// of large ones adds to loadAheadBytes.
	loadBatch = 64

	// retryLoad is when a disk that does not read is asked again.
	retryLoad = time.Second

	noTick = ^uint64(0) // after everything
)

// loadingItem is a message on its way from the disk to the near wheel. It does
// not change.
type loadingItem struct {
	farEntry
	due uint64
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

// load reads a batch of what is due soon into the near wheel. It reports
// whether there was any work; ok is false if the engine's stop ran out of time.
func (d *delayed) load() (worked, ok bool) {
	d.mu.Lock()
	d.alarm = 0
	now := uint64(d.eng.now())
	next, some := d.farNext()
	if !some {
		d.settleLoaded() // what held it back may have been cancelled
	}
	if !some || loadTime(next) > now || !d.roomLocked() {
		d.mu.Unlock()
		return false, true
	}
	more := d.far.Advance(now+loadAhead, loadBatch, func(e farEntry) {
		due := d.far.elapsed - uint64(e.early)
		d.loading = append(d.loading, loadingItem{farEntry: e, due: due})
		d.where.put(e.key, beingLoaded)
	})
	if !more {
		d.clamped = noTick
	}
	items := d.loading
	d.mu.Unlock()

	bodies, ok := d.read(items)
	if !ok {
		return true, false
	}

	d.mu.Lock()
	defer d.mu.Unlock()
	d.loading = d.loading[:0]
	for i, it := range items {
		if h, ok := d.where.get(it.key); !ok || h != beingLoaded {
			continue // cancelled meanwhile
		}
		if bodies[i] != "" {
			d.insertNear(it.due, bodies[i])
		} else {
			d.where.remove(it.key)
			d.eng.stats.delayedLost.Add(1)
		}
	}
	d.settleLoaded()
	return true, true
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

// read returns the bodies of items, "" for one that is not there or damaged. It
// tries again while the disk does not read; it reports false if the engine's
// stop ran out of time.
func (d *delayed) read(items []loadingItem) (bodies []packed, ok bool) {
	keys := make([]uint64, len(items))
	for i := range items {
		keys[i] = items[i].key
	}
	for failed := false; ; failed = true {
		bodies = make([]packed, len(items))
		at := 0
		err := d.vault.Load(keys, func(key uint64, body []byte, err error) {
			for items[at].key != key {
				at++
			}
			p := packed(body)
			if err == nil {
				err = p.check()
			}
			if err != nil {
				d.eng.opts.Logger.Error("a delayed message is damaged on disk and is not sent", "key", key, "error", err)
				return
			}
			bodies[at] = p
		})
		if err == nil {
			return bodies, true
		}
		if !failed {
			d.eng.opts.Logger.Error("cannot read delayed messages; they wait", "error", err)
		}
		if !d.pause(retryLoad) {
			return nil, false
		}
	}
}
