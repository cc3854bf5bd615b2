package engine

import (
	"math/bits"
	"unsafe"
)

const (
	blockRefs   = 16 // fills a timerBlock up to two cache lines
	blockDigits = 3  // digits of each deadline in it
	blockMask   = 1<<(blockDigits*wheelDigit) - 1
)

// slotID is level<<wheelDigit | slot.
type slotID uint16

// timerSlot is a list: of entries in level 0, of blocks above. Its fields mean
// nothing while it is empty.
type timerSlot struct {
	head, tail uint32
}

// timerBlock is a part of a slot's list: 128 bytes, never without a live ref
// while it is in use. The live refs are in order; what has left leaves a hole.
// Of a deadline it has the lower 24 bits. Those above follow from the slot up to
// level 3; in the levels beyond, the entry tells its deadline.
type timerBlock struct {
	next, prev uint32 // blocks of the same slot, noIndex at the ends
	slot       slotID
	live       uint16            // bit i: refs[i] counts; 0: the block is free
	low        [blockRefs]uint16 // bits 0 to 15 of the refs' deadlines
	high       [blockRefs]uint8  // bits 16 to 23
	_          uint32            // refs have a cache line of their own
	refs       [blockRefs]uint32 // indexes of entries, which may be cancelled
}

// set makes ref p one to entry i.
func (b *timerBlock) set(p int, i uint32, deadline uint64) {
	b.refs[p] = i
	b.low[p], b.high[p] = uint16(deadline), uint8(deadline>>16)
	b.live |= 1 << p
}

// deadline is the deadline of ref p in a slot that starts at start, of level 3
// at most.
func (b *timerBlock) deadline(p int, start uint64) uint64 {
	return start&^blockMask | uint64(b.high[p])<<16 | uint64(b.low[p])
}

// copyRef copies ref p to where ref n of block to is, which may be b.
func (b *timerBlock) copyRef(p int, to *timerBlock, n int) {
	to.refs[n], to.low[n], to.high[n] = b.refs[p], b.low[p], b.high[p]
}

// push puts a ref to entry i at the tail of s, above level 0.
func (w *timerWheel[T]) push(s slotID, deadline uint64, i uint32) {
	var b *timerBlock
	p := blockRefs
	if w.isOccupied(s) {
		b = w.blocks.at(w.slots[s].tail)
		p = bits.Len16(b.live) // holes behind the last live ref are free again
	}
	if p >= blockRefs {
		b = w.grow(s)
		p = 0
	}
	b.set(p, i, deadline)
}

// grow adds a block at the tail of s. The caller fills it.
func (w *timerWheel[T]) grow(s slotID) *timerBlock {
	i, b := w.blocks.alloc()
	b.next, b.prev, b.slot, b.live = noIndex, noIndex, s, 0
	slot := &w.slots[s]
	if !w.isOccupied(s) {
		w.occupy(s)
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
		w.vacate(s)
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

// bury makes the index of a cancelled entry free, whose ref goes.
func (w *timerWheel[T]) bury(i uint32) {
	w.entries.release(i)
	w.cancelled--
}

// fetchBehind begins to fetch from memory what a cascade needs after block b:
// the entries of the next block, if it comes to them, and the block behind it.
func (w *timerWheel[T]) fetchBehind(b *timerBlock) {
	if b.next == noIndex {
		return
	}
	next := w.blocks.at(b.next)
	if next.slot.needsEntries() {
		w.fetchEntries(next)
	}
	if next.next != noIndex {
		b = w.blocks.at(next.next)
		prefetch(unsafe.Pointer(b))
		prefetch(unsafe.Pointer(&b.refs))
	}
}

// fetchEntries begins to fetch the entries of a block from memory.
func (w *timerWheel[T]) fetchEntries(b *timerBlock) {
	for p, i := range &b.refs {
		if b.live>>p&1 != 0 {
			e := w.entries.at(i)
			prefetch(unsafe.Pointer(e))
			prefetch(unsafe.Add(unsafe.Pointer(e), unsafe.Sizeof(*e)-1)) // it may lie in two cache lines
		}
	}
}

// isOccupied reports whether s is not empty.
func (w *timerWheel[T]) isOccupied(s slotID) bool { return w.occupied[s/wordBits]&s.bit() != 0 }

// occupy notes that s is not empty.
func (w *timerWheel[T]) occupy(s slotID) {
	w.occupied[s/wordBits] |= s.bit()
	w.words |= 1 << (s / wordBits)
}

// vacate notes that s is empty.
func (w *timerWheel[T]) vacate(s slotID) {
	if w.occupied[s/wordBits] &^= s.bit(); w.occupied[s/wordBits] == 0 {
		w.words &^= 1 << (s / wordBits)
	}
}

// slotFor returns the slot of a deadline, not before elapsed, as seen at elapsed.
func slotFor(deadline, elapsed uint64) slotID {
	level := uint(bits.Len64((deadline^elapsed)|1)-1) / wheelDigit
	return slotID(level<<wheelDigit) | slotID(deadline>>(level*wheelDigit)%wheelSlots)
}

// level is the slot's level.
func (s slotID) level() uint { return uint(s >> wheelDigit) }

// isFar reports whether the slot and its blocks do not tell the whole deadlines.
func (s slotID) isFar() bool { return s.level() > blockDigits }

// needsEntries reports whether a cascade of the slot comes to the entries.
func (s slotID) needsEntries() bool { return s.level() == 1 || s.isFar() }

// start is the first tick of the slot, as seen at elapsed.
func (s slotID) start(elapsed uint64) uint64 {
	shift := s.level() * wheelDigit
	return elapsed>>shift>>wheelDigit<<wheelDigit<<shift | uint64(s%wheelSlots)<<shift
}

// bit is the slot's bit in its word of occupancy.
func (s slotID) bit() uint64 { return 1 << (s % wordBits) }
