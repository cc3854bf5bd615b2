package engine

// A timer wheel holds values until their time has come. It has no clock, lock
// or goroutine of its own: time is an argument, in ticks (milliseconds here)
// since an epoch of the owner's choice.
//
// It is the hierarchical wheel of Varghese and Lauck, "Hashed and Hierarchical
// Timing Wheels" (SOSP 1987, scheme 7), with 64 slots a level and one word a
// level that says which of them hold anything, as in William Ahern's timeout.c
// and tokio's time driver. A time is read as eleven digits of six bits, and an
// entry lies
//
//	at the level of the highest digit in which its deadline differs from elapsed,
//	in the slot that this digit of the deadline names.
//
// So a slot of level 0 is a single tick and one of level n is 64^n ticks. All
// that lies at a level is due before anything at the level above, and within a
// level slots are due from left to right: the next thing to do is the lowest
// set bit of the lowest level that is not empty, however far away it is. A slot
// of level 0 is fired. One above is cascaded: its entries go to levels below,
// each entry at most once a level in its life.
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
// Memory. A slot is a list of blocks of one cache line, each with the indexes
// of up to 13 entries; an entry knows its place in its block. Compared with
// links in the entries this has three merits: the addresses of 13 entries are
// known at once and their cache misses overlap, a cancel touches one line
// besides the entry's own, and an entry with a 16-byte value takes 32 + 5 bytes.

import "math/bits"

const (
	wheelDigit  = 6                                  // bits of time that a level decides on
	wheelSlots  = 1 << wheelDigit                    // slots a level: one word of occupancy
	wheelLevels = (64 + wheelDigit - 1) / wheelDigit // enough for every uint64
	blockRefs   = 13                                 // fills a timerBlock up to 64 bytes
	blockPlace  = 4                                  // bits of timerEntry.place that count within a block
	noSlot      = slotID(wheelLevels << wheelDigit)  // one past the last slot
	noIndex     = ^uint32(0)                         // no block, no chunk
)

// timerWheel holds values of type T until their deadline. It is not safe for
// concurrent use. It holds at most 2^28 entries; one more is a panic.
type timerWheel[T any] struct {
	now     uint64 // latest time passed to Advance
	elapsed uint64 // time up to which the slots have been worked off, <= now
	opened  slotID // slot whose cascade was interrupted, not empty; else noSlot
	gen     uint32 // generation of the newest entry

	occupied [wheelLevels]uint64 // bit s of word l: slot s of level l is not empty
	slots    [noSlot]timerSlot
	entries  timerSlab[timerEntry[T]]
	blocks   timerSlab[timerBlock]
}

// timerHandle names an entry to Cancel. The zero timerHandle names none. A
// handle of an entry that has left stays harmless for the next 2^32-1 inserts.
type timerHandle struct {
	index uint32
	gen   uint32
}

// slotID is level<<wheelDigit | slot.
type slotID uint16

// timerSlot is a list of blocks. Its fields mean nothing while it is empty.
type timerSlot struct {
	head, tail uint32
}

// timerEntry is a value that waits. Its gen is 0 while it is free.
type timerEntry[T any] struct {
	deadline uint64
	gen      uint32
	place    uint32 // block<<blockPlace | position in its refs
	value    T
}

// timerBlock is a part of a slot's list: 64 bytes, never without a live ref.
// The live refs are in order; what is cancelled leaves a hole.
type timerBlock struct {
	next, prev uint32 // blocks of the same slot, noIndex at the ends
	slot       slotID
	live       uint16 // bit i: refs[i] is an entry
	refs       [blockRefs]uint32
}

// newTimerWheel returns an empty wheel that stands at now.
func newTimerWheel[T any](now uint64) *timerWheel[T] {
	return &timerWheel[T]{
		now: now, elapsed: now, opened: noSlot,
		entries: newTimerSlab[timerEntry[T]](),
		blocks:  newTimerSlab[timerBlock](),
	}
}

// Len is the number of entries that wait.
func (w *timerWheel[T]) Len() int { return w.entries.used }

// Insert adds v, to be fired by the first Advance whose time is at or past
// deadline. A deadline before the latest time passed to Advance counts as that
// time: the next Advance fires it, behind what was due until then.
func (w *timerWheel[T]) Insert(deadline uint64, v T) timerHandle {
	i, e := w.entries.alloc()
	if w.gen++; w.gen == 0 {
		w.gen = 1
	}
	e.deadline = max(deadline, w.now)
	e.gen = w.gen
	e.value = v
	e.place = w.push(slotFor(e.deadline, w.elapsed), i)
	return timerHandle{index: i, gen: e.gen}
}

// Cancel removes the entry of h and returns its value. It reports false, and
// does nothing, if that entry has been fired or cancelled before.
func (w *timerWheel[T]) Cancel(h timerHandle) (v T, ok bool) {
	e := w.entries.lookup(h.index)
	if e == nil || e.gen != h.gen || h.gen == 0 {
		return v, false
	}
	return w.take(h.index, e), true
}

// Next returns a time before which Advance has nothing to do: the earliest
// deadline if that is near (in level 0), else a lower bound of it, where a
// cascade is due. At that time the wheel comes nearer to the deadline by a
// level at least. It is not past the time of the last Advance if that had
// more to do. ok is false if the wheel is empty.
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
// It moves at most budget entries, up to another slot or out, and reports
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
	for fired < budget && w.occupied[0]&s.bit() != 0 {
		b := w.blocks.at(w.slots[s].head)
		i := b.refs[bits.TrailingZeros16(b.live)]
		fired++
		fire(w.take(i, w.entries.at(i)))
	}
	return fired
}

// cascade moves up to budget entries of a slot to the levels below, in order,
// and returns how many. When the slot is empty elapsed is its start: see drop.
func (w *timerWheel[T]) cascade(s slotID, budget int) (moved int) {
	w.opened = s
	start := s.start(w.elapsed)
	head := w.slots[s].head
	b := w.blocks.at(head)
	live := b.live
	for {
		// All deadlines of the block, and the next block, are read before any
		// entry is placed: these loads do not depend on each other, so their
		// cache misses overlap. They are most of what a cascade costs.
		// The bits of live are tested one by one for the same reason: finding
		// the next set bit compiles to BSF on amd64, which waits for the old
		// value of its destination and so chains the loads (three times slower).
		var deadlines [blockRefs]uint64
		for p, ref := range &b.refs {
			if live>>p&1 != 0 {
				deadlines[p] = w.entries.at(ref).deadline
			}
		}
		next, nextLive := b.next, uint16(0)
		if next != noIndex {
			nextLive = w.blocks.at(next).live
		}

		for p, ref := range &b.refs {
			if live>>p&1 != 0 && moved < budget {
				w.entries.at(ref).place = w.push(slotFor(deadlines[p], start), ref)
				live &^= 1 << p
				moved++
			}
		}
		if b.live = live; live != 0 {
			return moved
		}
		w.drop(head, b)
		if next == noIndex || moved == budget {
			return moved
		}
		head, b, live = next, w.blocks.at(next), nextLive
	}
}

// first returns the slot to work on next, noSlot if the wheel is empty.
func (w *timerWheel[T]) first() slotID {
	if w.opened != noSlot {
		return w.opened
	}
	for level, occupied := range &w.occupied {
		if occupied != 0 {
			return slotID(level<<wheelDigit | bits.TrailingZeros64(occupied))
		}
	}
	return noSlot
}

// take removes an entry and returns its value. Nothing of it stays behind for
// the garbage collector to follow.
func (w *timerWheel[T]) take(i uint32, e *timerEntry[T]) T {
	v, place := e.value, e.place
	*e = timerEntry[T]{}
	w.entries.release(i)

	block := place >> blockPlace
	b := w.blocks.at(block)
	b.live &^= 1 << (place & (1<<blockPlace - 1))
	if b.live == 0 {
		w.drop(block, b)
	}
	return v
}

// push puts the entry with index i at the tail of s and returns its place.
func (w *timerWheel[T]) push(s slotID, i uint32) (place uint32) {
	var b *timerBlock
	p := blockRefs
	if w.occupied[s>>wheelDigit]&s.bit() != 0 {
		b = w.blocks.at(w.slots[s].tail)
		p = bits.Len16(b.live) // holes behind the last live ref are free again
	}
	if p >= blockRefs {
		b = w.grow(s)
		p = 0
	}
	b.refs[p] = i
	b.live |= 1 << p
	return w.slots[s].tail<<blockPlace | uint32(p)
}

// grow adds a block at the tail of s. The caller fills it.
func (w *timerWheel[T]) grow(s slotID) *timerBlock {
	i, b := w.blocks.alloc()
	b.next, b.prev, b.slot, b.live = noIndex, noIndex, s, 0
	slot, word := &w.slots[s], &w.occupied[s>>wheelDigit]
	if *word&s.bit() == 0 {
		*word |= s.bit()
		slot.head = i
	} else {
		b.prev = slot.tail
		w.blocks.at(slot.tail).next = i
	}
	slot.tail = i
	return b
}

// drop removes a block without live refs from its slot. If an opened slot is
// empty with it, its cascade is complete and elapsed moves to its start.
func (w *timerWheel[T]) drop(i uint32, b *timerBlock) {
	s := b.slot
	slot := &w.slots[s]
	switch {
	case b.prev == noIndex && b.next == noIndex:
		w.occupied[s>>wheelDigit] &^= s.bit()
		if s == w.opened {
			w.elapsed = s.start(w.elapsed)
			w.opened = noSlot
		}
	case b.prev == noIndex:
		slot.head = b.next
		w.blocks.at(b.next).prev = noIndex
	case b.next == noIndex:
		slot.tail = b.prev
		w.blocks.at(b.prev).next = noIndex
	default:
		w.blocks.at(b.prev).next = b.next
		w.blocks.at(b.next).prev = b.prev
	}
	w.blocks.release(i)
}

// slotFor returns the slot of a deadline, not before elapsed, as seen at elapsed.
func slotFor(deadline, elapsed uint64) slotID {
	level := uint(bits.Len64((deadline^elapsed)|1)-1) / wheelDigit
	return slotID(level<<wheelDigit) | slotID(deadline>>(level*wheelDigit)%wheelSlots)
}

// bit is the slot's bit in its level's word of occupancy.
func (s slotID) bit() uint64 { return 1 << (s % wheelSlots) }

// start is the first tick of the slot, as seen at elapsed.
func (s slotID) start(elapsed uint64) uint64 {
	shift := uint(s>>wheelDigit) * wheelDigit
	return elapsed>>shift>>wheelDigit<<wheelDigit<<shift | uint64(s%wheelSlots)<<shift
}
