package engine

import "math/bits"

const (
	blockRefs = 15 // fills a timerBlock up to three cache lines
	placeBits = 4  // of timerEntry.place that count within a block
)

// slotID is level<<wheelDigit | slot.
type slotID uint16

// timerSlot is a list of blocks. Its fields mean nothing while it is empty.
type timerSlot struct {
	head, tail uint32
}

// timerBlock is a part of a slot's list: 192 bytes, never without a live ref
// while it is in use. The live refs are in order; what has left leaves a hole.
type timerBlock struct {
	next, prev uint32 // blocks of the same slot, noIndex at the ends
	slot       slotID
	live       uint16            // bit i: refs[i] counts; 0: the block is free
	refs       [blockRefs]uint32 // indexes of entries; above level 0 they may be cancelled
	deadlines  [blockRefs]uint64 // of refs; not set in level 0
}

// push puts a ref to entry i at the tail of s. In level 0 it tells the entry its
// place.
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
	b.live |= 1 << p
	if s < wheelSlots {
		w.entries.at(i).place = w.slots[s].tail<<placeBits | uint32(p+1)
	} else {
		b.deadlines[p] = deadline
	}
}

// pull takes the ref at a place in level 0 out of its block.
func (w *timerWheel[T]) pull(place uint32) {
	i := place >> placeBits
	b := w.blocks.at(i)
	b.live &^= 1 << (place%(1<<placeBits) - 1)
	if b.live == 0 {
		w.drop(i, b)
	}
}

// grow adds a block at the tail of s. The caller fills it.
func (w *timerWheel[T]) grow(s slotID) *timerBlock {
	i, b := w.blocks.alloc()
	b.next, b.prev, b.slot, b.live = noIndex, noIndex, s, 0
	slot := &w.slots[s]
	if !w.isOccupied(s) {
		w.occupied[s>>wheelDigit] |= s.bit()
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

// gone returns which live refs of a block with deadlines up to last are of
// cancelled entries. The bits of live are tested one by one: finding the next
// set bit compiles to BSF on amd64, which waits for the old value of its
// destination, and so would chain the loads of the entries.
func (w *timerWheel[T]) gone(b *timerBlock, last uint64) (gone uint16) {
	for p, i := range &b.refs {
		if b.live>>p&1 != 0 && b.deadlines[p] <= last && w.entries.at(i).gen == 0 {
			gone |= 1 << p
		}
	}
	return gone
}

// bury makes the index of a cancelled entry free, whose ref goes.
func (w *timerWheel[T]) bury(i uint32) {
	w.entries.release(i)
	w.cancelled--
}

// isOccupied reports whether s is not empty.
func (w *timerWheel[T]) isOccupied(s slotID) bool { return w.occupied[s>>wheelDigit]&s.bit() != 0 }

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
