package engine

// Level 0. Its entries are about to be fired and in the caches, so its slots
// are lists of the entries themselves. An entry there does not need its
// deadline, which is its slot's tick. Where that was, it keeps the indexes of
// its neighbours: the one before it in the lower half of when, the one behind
// it in the upper half, noIndex at the ends.

// before is the index of the entry before e in its slot.
func (e *timerEntry[T]) before() uint32 { return e.when[0] }

// behind is the index of the entry behind e in its slot.
func (e *timerEntry[T]) behind() uint32 { return e.when[1] }

func (e *timerEntry[T]) setBefore(i uint32) { e.when[0] = i }

func (e *timerEntry[T]) setBehind(i uint32) { e.when[1] = i }

// link puts entry i, whose place is 0, at the tail of s.
func (w *timerWheel[T]) link(s slotID, i uint32, e *timerEntry[T]) {
	slot := &w.slots[s]
	e.state |= uint32(s) + 1
	e.setBehind(noIndex)
	if w.isOccupied(s) {
		e.setBefore(slot.tail)
		w.entries.at(slot.tail).setBehind(i)
	} else {
		e.setBefore(noIndex)
		slot.head = i
		w.occupy(s)
	}
	slot.tail = i
}

// unlink takes an entry out of its slot.
func (w *timerWheel[T]) unlink(e *timerEntry[T]) {
	s := slotID(e.place() - 1)
	slot := &w.slots[s]
	before, behind := e.before(), e.behind()
	switch {
	case before == noIndex && behind == noIndex:
		w.vacate(s)
	case before == noIndex:
		slot.head = behind
		w.entries.at(behind).setBefore(noIndex)
	case behind == noIndex:
		slot.tail = before
		w.entries.at(before).setBehind(noIndex)
	default:
		w.entries.at(before).setBehind(behind)
		w.entries.at(behind).setBefore(before)
	}
}

// deadline returns the deadline of an entry that waits. While a cascade is
// interrupted, what is in level 0 was put there as seen at the start of its slot.
func (w *timerWheel[T]) deadline(e *timerEntry[T]) uint64 {
	if e.place() == 0 {
		return e.due()
	}
	seen := w.elapsed
	if w.opened != noSlot {
		seen = w.opened.start(seen)
	}
	return slotID(e.place() - 1).start(seen)
}
