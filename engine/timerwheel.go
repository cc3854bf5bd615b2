package engine

// A timer wheel holds values until their time has come. It has no clock, lock
// or goroutine of its own: time is an argument, in ticks (milliseconds here)
// since an epoch of the owner's choice.
//
// It is the hierarchical wheel of Varghese and Lauck, "Hashed and Hierarchical
// Timing Wheels" (SOSP 1987, scheme 7), with words of bits that say which slots
// hold anything, as in William Ahern's timeout.c and tokio's time driver. A time
// is read as eight digits of eight bits, and an entry lies
//
//	at the level of the highest digit in which its deadline differs from elapsed,
//	in the slot that this digit of the deadline names.
//
// So a slot of level 0 is a single tick and one of level n is 256^n ticks. All
// that lies at a level is due before anything at the level above, and within a
// level slots are due from left to right: the next thing to do is the lowest
// set bit, however far away it is. A slot of level 0 is fired. One above is
// cascaded: its entries go to levels below, each entry at most once a level in
// its life, from an hour away twice.
//
// Order. Entries of equal deadline are always in the same slot, because the
// slot depends on nothing but deadline and elapsed. They enter it at the tail
// and are cascaded and fired from the head, so the first in is the first out.
// A cascade may be interrupted when the budget ends. Until its slot is empty
// elapsed stays where it is, so that a newcomer for that slot still goes to its
// tail, behind the entries it must not overtake. No newcomer can mix with what
// has been cascaded already: Insert raises a deadline to the latest time that
// was passed to Advance, and that is in the slot or behind it.
//
// Memory. What costs time is the cache misses of entries that were not touched
// for long, so they are touched seldom, and several at a time. Above level 0 a
// slot is a list of blocks, each with the indexes of up to 16 entries and the
// lower 24 bits of their deadlines: a ref each. The bits above follow from the
// slot up to level 3, which is 49 days. There a cascade reads the blocks alone,
// one after the other. It comes to the entries on its way into level 0, since
// they are to be fired soon, and in the levels above 3 for their deadlines; those
// of the next block are on their way from memory while one block is worked off.
// In level 0 a slot is a list of the entries themselves, which the caches hold by
// then. An entry takes 12 bytes and its value, and 8 bytes in a block: 28 with a
// value of two uint32.
//
// Cancelling. An entry in level 0 is taken out of its list. One above does not
// know where its ref is, and to find it would be another miss: its value goes,
// and its index stays taken until a cascade that comes to the entries or the
// sweep passes the ref. Once such refs are more than half of what waits, each
// entry that leaves has one block swept; the last one to leave takes all of them
// along. So Next is exact in level 0, and a wheel in which nothing waits is empty.

import "math/bits"

const (
	wheelDigit  = 8                                  // bits of time that a level decides on
	wheelSlots  = 1 << wheelDigit                    // slots a level
	wheelLevels = (64 + wheelDigit - 1) / wheelDigit // enough for every uint64
	wheelDebris = 1024                               // so many refs of cancelled entries are not worth a sweep
	placeBits   = wheelDigit + 1                     // bits of a place: 1 + wheelSlots values
	maxGen      = 1<<(32-placeBits) - 1              // the generation before 1: 8 million
	wordBits    = 64                                 // slots a word of occupancy
	noSlot      = slotID(wheelLevels << wheelDigit)  // one past the last slot
	noIndex     = ^uint32(0)                         // no entry, no block, no chunk
)

// timerWheel holds values of type T until their deadline. It is not safe for
// concurrent use. It holds at most 2^28 entries, the cancelled ones included
// whose refs are still to be swept up; one more is a panic.
type timerWheel[T any] struct {
	now     uint64 // latest time passed to Advance
	elapsed uint64 // time up to which the slots have been worked off, <= now
	opened  slotID // slot whose cascade was interrupted, not empty; else noSlot
	gen     uint32 // generation of the newest entry, 1 to maxGen

	words     uint32                    // bit w: word w of occupied is not zero
	occupied  [noSlot / wordBits]uint64 // bit s%wordBits of word s/wordBits: slot s is not empty
	slots     [noSlot]timerSlot
	entries   timerSlab[timerEntry[T]]
	blocks    timerSlab[timerBlock]
	cancelled int    // entries that are cancelled but still have a ref
	broom     uint32 // index of the block to be swept next
}

// timerHandle names an entry to Cancel. The zero timerHandle names none. A
// handle of an entry that has left stays harmless until maxGen-1 more were
// inserted. After that it may name another one, by chance: an entry of the same
// index whose insert came a multiple of maxGen later. An owner that keeps handles
// for so long has to tell by the value.
type timerHandle struct {
	index uint32
	gen   uint32
}

// timerEntry is a value that waits. All of it is zero once it has left. Nothing
// in it but the value can need an alignment of 8 bytes, and with it padding.
type timerEntry[T any] struct {
	when  [2]uint32 // the deadline, its lower half first; in level 0, where the slot tells it, see timerwheel_near.go
	state uint32    // generation<<placeBits | place; 0: the entry has left
	value T
}

// gen is the entry's generation, 0 if it has left.
func (e *timerEntry[T]) gen() uint32 { return e.state >> placeBits }

// place is 1 + slot in level 0, and 0 above.
func (e *timerEntry[T]) place() uint32 { return e.state % (1 << placeBits) }

// due is the deadline of an entry above level 0.
func (e *timerEntry[T]) due() uint64 { return uint64(e.when[1])<<32 | uint64(e.when[0]) }

// newTimerWheel returns an empty wheel that stands at now.
func newTimerWheel[T any](now uint64) *timerWheel[T] {
	return &timerWheel[T]{
		now: now, elapsed: now, opened: noSlot,
		entries: newTimerSlab[timerEntry[T]](),
		blocks:  newTimerSlab[timerBlock](),
	}
}

// Len is the number of entries that wait.
func (w *timerWheel[T]) Len() int { return w.entries.used - w.cancelled }

// Insert adds v, to be fired by the first Advance whose time is at or past
// deadline. A deadline before the latest time passed to Advance counts as that
// time: the next Advance fires it, behind what was due until then.
func (w *timerWheel[T]) Insert(deadline uint64, v T) timerHandle {
	i, e := w.entries.alloc()
	if w.gen++; w.gen > maxGen {
		w.gen = 1
	}
	e.state = w.gen << placeBits
	e.value = v
	deadline = max(deadline, w.now)
	if s := slotFor(deadline, w.elapsed); s < wheelSlots {
		w.link(s, i, e)
	} else {
		e.when = [2]uint32{uint32(deadline), uint32(deadline >> 32)}
		w.push(s, deadline, i)
	}
	return timerHandle{index: i, gen: w.gen}
}

// Get returns the value of the entry of h and its deadline, as Insert took it.
// It reports false if that entry has been fired or cancelled.
func (w *timerWheel[T]) Get(h timerHandle) (deadline uint64, v T, ok bool) {
	e := w.entries.lookup(h.index)
	if e == nil || e.gen() != h.gen || h.gen == 0 {
		return 0, v, false
	}
	return w.deadline(e), e.value, true
}

// At returns the entry that waits under an index: its handle, its deadline and its
// value. It reports false if none does.
func (w *timerWheel[T]) At(index uint32) (h timerHandle, deadline uint64, v T, ok bool) {
	e := w.entries.lookup(index)
	if e == nil || e.state == 0 {
		return h, 0, v, false
	}
	return timerHandle{index: index, gen: e.gen()}, w.deadline(e), e.value, true
}

// Replace gives the entry of h, which waits, another value.
func (w *timerWheel[T]) Replace(h timerHandle, v T) { w.entries.at(h.index).value = v }

// Cancel removes the entry of h and returns its value. It reports false, and
// does nothing, if that entry has been fired or cancelled before.
func (w *timerWheel[T]) Cancel(h timerHandle) (v T, ok bool) {
	e := w.entries.lookup(h.index)
	if e == nil || e.gen() != h.gen || h.gen == 0 {
		return v, false
	}
	return w.take(h.index, e), true
}

// Scan calls visit with the waiting entries among the next budget places, at
// least one, of the wheel's memory from cursor on: 0 to begin, then what the
// call before returned, until that is 0 again. The order means nothing. An
// entry that waits during the whole scan is visited once; one that comes or
// goes meanwhile may be. In visit and between the calls the wheel may be used
// freely.
func (w *timerWheel[T]) Scan(cursor uint32, budget int, visit func(deadline uint64, h timerHandle, v T)) (next uint32) {
	for budget = max(budget, 1); int(cursor/slabChunk) < len(w.entries.mem); budget-- {
		if budget == 0 {
			return cursor
		}
		e := w.entries.lookup(cursor)
		if e == nil { // the whole chunk
			cursor = (cursor/slabChunk + 1) * slabChunk
			continue
		}
		if e.state != 0 {
			visit(w.deadline(e), timerHandle{index: cursor, gen: e.gen()}, e.value)
		}
		cursor++
	}
	return 0
}

// Next returns a time before which Advance has nothing to do: the earliest
// deadline if that is near (in level 0), else a lower bound of it, where a
// cascade is due. At that time the wheel comes nearer to the deadline by a
// level at least, or gets rid of refs of cancelled entries. It is not past the
// time of the last Advance if that had more to do. ok is false if the wheel is
// empty.
func (w *timerWheel[T]) Next() (at uint64, ok bool) {
	s := w.first()
	if s == noSlot {
		return 0, false
	}
	return s.start(w.elapsed), true
}

// Advance moves the wheel to now and calls fire with the value of each entry
// whose deadline is not after now, in the order of their deadlines and, where
// those are equal, of their inserts. A now before that of an earlier call
// counts as the earlier one.
//
// It moves at most budget refs, up to another slot or out, and reports
// whether more are to be moved until now: call it again then. In between, and
// in fire, the wheel may be used freely, but fire must not call Advance. What
// is inserted for now or before is part of the same sweep, so a fire that
// always inserts such an entry ends only with its budget. If fire panics its
// entry has left and the wheel is sound.
func (w *timerWheel[T]) Advance(now uint64, budget int, fire func(T)) (more bool) {
	w.now = max(w.now, now)
	for {
		s := w.first()
		if s == noSlot || s.start(w.elapsed) > w.now {
			w.elapsed = w.now
			return false
		}
		if budget <= 0 {
			return true
		}
		if s < wheelSlots {
			w.elapsed = s.start(w.elapsed)
			budget -= w.expire(s, budget, fire)
		} else {
			budget -= w.cascade(s, budget)
		}
	}
}

// expire fires up to budget entries of a slot of level 0 and returns how many.
func (w *timerWheel[T]) expire(s slotID, budget int, fire func(T)) (fired int) {
	for fired < budget && w.isOccupied(s) {
		i := w.slots[s].head
		fired++
		fire(w.take(i, w.entries.at(i)))
	}
	return fired
}

// cascade moves up to budget entries of a slot to the levels below, in order,
// and returns how many. When the slot is empty elapsed is its start: see drop.
func (w *timerWheel[T]) cascade(s slotID, budget int) (moved int) {
	w.opened = s
	start, far := s.start(w.elapsed), s.isFar()
	if s.needsEntries() {
		w.fetchEntries(w.blocks.at(w.slots[s].head))
	}
	for moved < budget && w.isOccupied(s) {
		head := w.slots[s].head
		b := w.blocks.at(head)
		w.fetchBehind(b)
		live := b.live
		for p, i := range &b.refs {
			if live>>p&1 == 0 || moved == budget {
				continue
			}
			deadline := b.deadline(p, start)
			if far {
				deadline = max(start, w.entries.at(i).due()) // what was cancelled goes down to be buried
			}
			if to := slotFor(deadline, start); to >= wheelSlots {
				w.push(to, deadline, i)
			} else if e := w.entries.at(i); e.state != 0 {
				w.link(to, i, e)
			} else {
				w.bury(i)
			}
			live &^= 1 << p
			moved++
		}
		if b.live = live; live == 0 {
			w.drop(head, b)
		}
	}
	return moved
}

// first returns the slot to work on next, noSlot if the wheel is empty.
func (w *timerWheel[T]) first() slotID {
	if w.opened != noSlot {
		return w.opened
	}
	if w.words == 0 {
		return noSlot
	}
	word := bits.TrailingZeros32(w.words) % len(w.occupied)
	return slotID(word*wordBits + bits.TrailingZeros64(w.occupied[word]))
}

// take removes an entry and returns its value. Nothing of it stays behind for
// the garbage collector to follow.
func (w *timerWheel[T]) take(i uint32, e *timerEntry[T]) T {
	if e.place() == 0 {
		w.cancelled++
	} else {
		w.unlink(e)
		w.entries.release(i)
	}
	v := e.value
	*e = timerEntry[T]{}
	if n := w.Len(); n == 0 {
		w.clear()
	} else if w.cancelled > n/2+wheelDebris {
		w.sweep()
	}
	return v
}
