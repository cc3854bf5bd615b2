package engine

import "math/bits"

// sweep tidies the next block in the order of memory, if it is in use, and joins
// it with the block before it if they fit into one. So two that follow each other
// hold more refs than a block can, or were looked at before the last of these
// were cancelled.
func (w *timerWheel[T]) sweep() {
	i := w.broom
	w.broom++
	b := w.blocks.lookup(i)
	if b == nil {
		w.broom = (i/slabChunk + 1) * slabChunk
	}
	if w.broom >= uint32(len(w.blocks.mem)*slabChunk) {
		w.broom = 0
	}
	if b == nil || b.live == 0 {
		return
	}
	if w.tidy(i, b) && b.prev != noIndex {
		w.merge(b.prev, i)
	}
}

// clear drops all blocks of a wheel in which nothing waits.
func (w *timerWheel[T]) clear() {
	for s := w.first(); s != noSlot; s = w.first() {
		i := w.slots[s].head
		w.tidy(i, w.blocks.at(i))
	}
}

// tidy removes the refs of cancelled entries from a block and moves the others
// to its front. It reports whether there are any; if not the block is dropped.
func (w *timerWheel[T]) tidy(i uint32, b *timerBlock) bool {
	w.fetchEntries(b)
	n := 0
	for p, ref := range &b.refs {
		switch {
		case b.live>>p&1 == 0:
		case w.entries.at(ref).state == 0:
			w.bury(ref)
		default:
			b.copyRef(p, b, n)
			n++
		}
	}
	if b.live = 1<<n - 1; n == 0 {
		w.drop(i, b)
	}
	return n > 0
}

// merge moves the refs of block i to the end of the block before it, if they
// have room there, and drops i.
func (w *timerWheel[T]) merge(before, i uint32) {
	a, b := w.blocks.at(before), w.blocks.at(i)
	n := bits.Len16(a.live)
	if n+bits.OnesCount16(b.live) > blockRefs {
		return
	}
	for p := range &b.refs {
		if b.live>>p&1 != 0 {
			b.copyRef(p, a, n)
			a.live |= 1 << n
			n++
		}
	}
	b.live = 0
	w.drop(i, b)
}
