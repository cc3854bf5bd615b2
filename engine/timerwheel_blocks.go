package engine

import (
	"math/bits"
	"unsafe"
)

const blockRefs = 15 // fills a timerBlock up to three cache lines

// slotID is level<<wheelDigit | slot.
type slotID uint16

// timerSlot is a list: of entries in level 0, of blocks above. Its fields mean
// nothing while it is empty.
type timerSlot struct {
	head, tail uint32
}

// timerBlock is a part of a slot's list: 192 bytes, never without a live ref
// while it is in use. The live refs are in order; what has left leaves a hole.
type timerBlock struct {
	next, prev uint32 // blocks of the same slot, noIndex at the ends
	slot       slotID
	live       uint16            // bit i: refs[i] counts; 0: the block is free
	refs       [blockRefs]uint32 // indexes of entries, which may be cancelled
	deadlines  [blockRefs]uint64 // of refs
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
	b.refs[p] = i
	b.deadlines[p] = deadline
	b.live |= 1 << p
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
// the entries of the next block, if they go to level 0, and the block behind it.
func (w *timerWheel[T]) fetchBehind(b *timerBlock) {
	if b.next == noIndex {
		return
	}
	next := w.blocks.at(b.next)
	if next.slot.level() == 1 {
		w.fetchEntries(next)
	}
	if next.next != noIndex {
		b = w.blocks.at(next.next)
		prefetch(unsafe.Pointer(b))
		prefetch(unsafe.Pointer(&b.deadlines[0]))
		prefetch(unsafe.Pointer(&b.deadlines[blockRefs-1]))
	}
}

// fetchEntries begins to fetch the entries of a block from memory.
func (w *timerWheel[T]) fetchEntries(b *timerBlock) {
	for p, i := range &b.refs {
		if b.live>>p&1 != 0 {
			prefetch(unsafe.Pointer(w.entries.at(i)))
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

// start is the first tick of the slot, as seen at elapsed.
func (s slotID) start(elapsed uint64) uint64 {
	shift := s.level() * wheelDigit
	return elapsed>>shift>>wheelDigit<<wheelDigit<<shift | uint64(s%wheelSlots)<<shift
}

// bit is the slot's bit in its word of occupancy.
func (s slotID) bit() uint64 { return 1 << (s % wordBits) }
