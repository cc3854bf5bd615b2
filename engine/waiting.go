package engine

import (
	"errors"
	"fmt"
	"slices"
)

// ErrNotWaiting: no delayed message with this key waits for its time.
var ErrNotWaiting = errors.New("engine: no such delayed message is waiting")

// errDamaged: a message waits, but its body cannot be read.
var errDamaged = errors.New("the message is damaged")

// Cancel takes a delayed message back: when it returns nil the message will
// not be sent, and with a vault that is safe on disk. It returns ErrNotWaiting
// for one that was sent, is being sent, or never was; an error that wraps
// ErrUnstored leaves the message waiting. Who asks for a message that is just
// being taken back waits for the outcome.
func (e *Engine) Cancel(key uint64) error {
	d := e.delayed
	d.mu.Lock()
	d.awaitOutcome(key)
	d.undoing[key] = struct{}{}
	d.mu.Unlock()
	err := d.undo(key)
	d.mu.Lock()
	delete(d.undoing, key)
	d.mu.Unlock()
	d.undone.Broadcast()
	if err == nil {
		e.stats.cancelled.Add(1)
	}
	return err
}

// undo is Cancel for one caller at a time.
func (d *delayed) undo(key uint64) error {
	due, tag, ok := d.take(key)
	if !ok {
		return ErrNotWaiting
	}
	if d.vault == nil {
		d.recent.add(key)
	} else if err := d.vault.Cancel(key); err != nil {
		d.mu.Lock()
		d.insertFar(due, key, tag)
		d.mu.Unlock()
		return fmt.Errorf("%w: %w", ErrUnstored, err)
	}
	return nil
}

// awaitOutcome waits while the message is being taken back. The caller holds mu,
// which is let go meanwhile.
func (d *delayed) awaitOutcome(key uint64) {
	for {
		if _, undoing := d.undoing[key]; !undoing {
			return
		}
		d.undone.Wait()
	}
}

// take removes a message from its wheel and returns when it is due.
func (d *delayed) take(key uint64) (due uint64, tag uint32, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h, ok := d.find(key)
	switch {
	case !ok:
		return 0, 0, false
	case h == beingLoaded:
		i := slices.IndexFunc(d.loading, func(it loadingItem) bool { return it.key == key })
		due, tag = d.loading[i].due, d.loading[i].tag
	case h == beingHeld:
		it := d.heldItem(key)
		due, tag = it.at, it.body.tag(d.eng)
		d.bytes -= int64(len(it.body))
		it.body = ""
	case h.isNear():
		timer, at, body, _ := d.near.At(h.index())
		d.near.Cancel(timer)
		due, tag = at, d.bodies.frameless(body).tag(d.eng)
		d.leaveNear(body, d.bodies.packedLen(body))
	default:
		timer, at, entry, _ := d.far.At(h.index())
		d.far.Cancel(timer)
		due, tag = uint64(max(0, int64(at)-int64(entry.early))), entry.tag
	}
	d.where.remove(key)
	d.trimSoon()
	return due, tag, true
}

// Cancelled reports whether key was taken back by Cancel. Not all of them are
// remembered: see Vault.Cancelled, and recentKeys without a vault. The error
// wraps ErrUnstored if the vault does not read.
func (e *Engine) Cancelled(key uint64) (bool, error) {
	v := e.delayed.vault
	if v == nil {
		return e.delayed.recent.has(key), nil
	}
	was, err := v.Cancelled(key)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnstored, err)
	}
	return was, nil
}

// Waiting returns the delayed message with this key, without its frame, or
// ErrNotWaiting. The error wraps ErrUnstored if it waits but cannot be read.
func (e *Engine) Waiting(key uint64) (Delayed, error) {
	d := e.delayed
	found, err := d.look([]uint64{key})
	if err == nil && len(found) == 0 {
		err = ErrNotWaiting
		if d.waits(key) {
			err = fmt.Errorf("%w: %w", ErrUnstored, errDamaged)
		}
	}
	if err != nil {
		return Delayed{}, err
	}
	return found[0], nil
}

// waits reports whether the message waits for its time.
func (d *delayed) waits(key uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.find(key)
	return ok
}

// find returns where a message waits. An entry of the far wheel and its handle
// always leave together; of the near wheel a handle is left behind for a moment.
// The caller holds mu.
func (d *delayed) find(key uint64) (h handle, ok bool) {
	h, ok = d.where.get(key)
	if ok && h.isNear() { // it may have been sent a moment ago, and another have its entry
		_, _, body, waits := d.near.At(h.index())
		ok = waits && d.bodies.key(body) == key
	}
	return h, ok
}

// look returns those of the messages that wait and can be read, without their
// frames, in the order of keys.
func (d *delayed) look(keys []uint64) ([]Delayed, error) {
	found := make([]Delayed, len(keys))
	var stored []uint64 // bodies that are on disk alone
	d.mu.Lock()
	for i, key := range keys {
		d.awaitOutcome(key)
		h, ok := d.find(key)
		switch {
		case ok && h == beingHeld:
			found[i] = d.heldItem(key).body.message()
		case ok && h.isNear():
			_, _, body, _ := d.near.At(h.index())
			found[i] = d.bodies.frameless(body).message()
		case ok:
			stored = append(stored, key)
		}
	}
	d.mu.Unlock()
	if len(stored) > 0 {
		at := 0
		err := d.vault.Load(stored, func(key uint64, body []byte, err error) {
			for keys[at] != key {
				at++
			}
			if p := packedFrom(body); err == nil && p.check() == nil {
				found[at] = p.message()
			}
		})
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnstored, err)
		}
	}
	return slices.DeleteFunc(found, func(m Delayed) bool { return m.Due.IsZero() }), nil
}
