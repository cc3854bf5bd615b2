package engine

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// OnMissed says what becomes of delayed messages whose time came while the
// relay was not running.
type OnMissed uint8

const (
	MissedSend OnMissed = iota // they go out first, in the order of their times
	MissedDrop                 // they are dropped, and counted
)

// missed are the messages of the vault that were due before the engine was
// there. They are sent after a moment in which clients can come back, and no
// faster than at a rate; all that is due meanwhile waits behind them. That
// moment is also given to what comes due within it.
type missed struct {
	hold    uint64 // engine clock: nothing is sent before
	before  int64  // ms since the epoch: what was due until then was missed
	lastKey uint64 // of what was restored
	rate    int    // a second; 0: none were missed, or all are sent
}

// has reports whether p was due before the engine was there.
func (m *missed) has(p packed) bool { return p.key() <= m.lastKey && p.due() <= m.before }

// pacePeriod is how often a part of the missed messages goes out.
const pacePeriod = 10 * time.Millisecond

// batch is how many messages may be sent before pace is asked.
func (m *missed) batch() int {
	if m.rate == 0 {
		return fireBatch
	}
	return min(fireBatch, max(1, m.rate*int(pacePeriod)/int(time.Second)))
}

// pace waits for as long as the n missed messages of a batch may take. It
// reports false if the engine stops: the rest is safe on disk.
func (m *missed) pace(d *delayed, n, batch int) bool {
	if m.rate == 0 || batch == 0 {
		return true
	}
	if n == 0 {
		m.rate = 0 // they come before all others: that was the last of them
		return true
	}
	select {
	case <-d.stop:
		return false
	case <-time.After(time.Duration(n) * time.Second / time.Duration(m.rate)):
		return true
	}
}

// keyLeap is how far behind the vault's last key an engine begins: the keys of
// messages that were sent at once are not in it.
const keyLeap = 1 << 32

// open takes up keys where the vault's end. Without a vault they start at
// random, so that those of two relays hardly meet.
func (d *delayed) open() error {
	first := rand.Uint64N(1 << 48)
	if d.vault != nil {
		first = d.vault.LastKey() + keyLeap
	}
	d.eng.lastKey.Store(first)
	d.bodies.since = bodyOrigin{first, d.eng.began.UnixMilli()}
	if d.vault == nil {
		return nil
	}
	return d.restore()
}

// restore fills the wheels with what the vault holds. Nothing else uses d yet.
func (d *delayed) restore() error {
	e := d.eng
	type late struct {
		due int64
		key uint64
		tag uint32
	}
	var lates []late
	epoch := e.began.UnixMilli()
	tokens := []string(nil)
	m := &d.missed
	m.before = epoch
	grace := e.opts.MissedGrace.Milliseconds()
	err := d.vault.Each(func(key uint64, body []byte) error {
		p := packedFrom(body)
		if err := p.check(); err != nil || p.key() != key {
			e.opts.Logger.Error("a delayed message is damaged on disk and is not sent", "key", key)
			e.stats.delayedLost.Add(1)
			return nil
		}
		tokens, _ = p.tokens(tokens[:0])
		m.lastKey = key
		if due, tag := p.due(), e.tagOf(tokens); due <= epoch {
			lates = append(lates, late{due, key, tag})
			if e.opts.OnMissed != MissedDrop {
				d.where.put(key, beingLoaded) // its place: keys come in order here alone
			}
		} else {
			d.insertFar(uint64(due-epoch), key, tag)
			if due-epoch < grace {
				m.hold = uint64(grace)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(lates) == 0 {
		return nil
	}
	slices.SortFunc(lates, func(a, b late) int {
		return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.key, b.key))
	})
	if e.opts.OnMissed == MissedDrop {
		keys := make([]uint64, len(lates))
		for i := range lates {
			keys[i] = lates[i].key
		}
		d.vault.Remove(keys)
		e.stats.missedDrop.Add(int64(len(keys)))
		e.opts.Logger.Warn("delayed messages are dropped: they were due while the relay was not running", "count", len(keys))
		return nil
	}
	for _, l := range lates { // all lie at the wheel's beginning, in this order
		entry := farEntry{key: l.key, tag: l.tag, early: uint32(min(epoch-l.due, math.MaxUint32))}
		d.where.put(l.key, farHandle(d.far.Insert(0, entry)))
	}
	e.opts.Logger.Info("delayed messages were due while the relay was not running; they go out first", "count", len(lates))
	m.rate = e.opts.MissedRate
	m.hold = uint64(grace)
	return nil
}
