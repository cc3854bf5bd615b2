package engine

import (
	"fmt"
	"math/bits"
)

// checkTimerWheel reports the first invariant that does not hold.
func checkTimerWheel[T comparable](w *timerWheel[T]) error {
	if w.elapsed > w.now {
		return fmt.Errorf("elapsed %d is past now %d", w.elapsed, w.now)
	}
	if o := w.opened; o != noSlot {
		if o < wheelSlots || !w.isOccupied(o) {
			return fmt.Errorf("opened slot %d is of level 0 or empty", o)
		}
		if at := o.start(w.elapsed); at <= w.elapsed || at > w.now {
			return fmt.Errorf("opened slot starts at %d, elapsed is %d, now %d", at, w.elapsed, w.now)
		}
	}
	if w.Len() == 0 && w.blocks.used > 0 || w.cancelled < 0 {
		return fmt.Errorf("%d wait, %d are cancelled, and there are %d blocks", w.Len(), w.cancelled, w.blocks.used)
	}
	for word, occupied := range w.occupied {
		if (occupied != 0) != (w.words>>word&1 == 1) {
			return fmt.Errorf("word %d of occupied is %x, summary %b", word, occupied, w.words)
		}
	}
	entries, blocks, cancelled := map[uint32]bool{}, 0, 0
	for s := range noSlot {
		if !w.isOccupied(s) {
			continue
		}
		seen := w.elapsed // the time at which the slot's entries were placed
		if w.opened != noSlot && s < w.opened&^(wheelSlots-1) {
			seen = w.opened.start(w.elapsed)
		}
		last := map[uint64]uint32{} // newest generation by deadline
		checkEntry := func(ref uint32, deadline uint64, place uint32) error {
			e := w.entries.lookup(ref)
			if e == nil || slabIsFree(&w.entries, ref) || entries[ref] {
				return fmt.Errorf("slot %d holds entry %d, which is free or in a slot already", s, ref)
			}
			entries[ref] = true
			if deadline < seen || slotFor(deadline, seen) != s {
				return fmt.Errorf("entry %d with deadline %d is in slot %d, seen at %d", ref, deadline, s, seen)
			}
			if e.place() != place {
				return fmt.Errorf("entry %d of slot %d has place %d", ref, s, e.place())
			}
			if e.gen() == 0 {
				if cancelled++; s < wheelSlots {
					return fmt.Errorf("slot %d of level 0 holds cancelled entry %d", s, ref)
				}
				return nil
			}
			if at := w.deadline(e); at != deadline {
				return fmt.Errorf("entry %d has deadline %d, its slot or ref %d", ref, at, deadline)
			}
			if e.gen() <= last[deadline] {
				return fmt.Errorf("slot %d: generation %d behind %d for deadline %d", s, e.gen(), last[deadline], deadline)
			}
			last[deadline] = e.gen()
			return nil
		}
		prev := noIndex
		for i := w.slots[s].head; i != noIndex; {
			var next uint32
			if s < wheelSlots {
				if err := checkEntry(i, s.start(seen), uint32(s)+1); err != nil {
					return err
				}
				e := w.entries.at(i)
				if next = e.behind(); e.before() != prev {
					return fmt.Errorf("slot %d, entry %d after %d: prev %d", s, i, prev, e.before())
				}
			} else {
				b := w.blocks.lookup(i)
				if b == nil || slabIsFree(&w.blocks, i) {
					return fmt.Errorf("slot %d holds free block %d", s, i)
				}
				blocks++
				if b.slot != s || b.prev != prev || b.live == 0 {
					return fmt.Errorf("slot %d, block %d after %d: slot %d, prev %d, live %b", s, i, prev, b.slot, b.prev, b.live)
				}
				for p, ref := range b.refs {
					if b.live>>p&1 == 0 {
						continue
					}
					deadline := b.deadline(p, s.start(seen))
					if s.isFar() {
						at := w.entries.at(ref).due()
						if at == 0 { // cancelled
							at = s.start(seen)
						} else if low := b.deadline(p, 0); low != at&blockMask {
							return fmt.Errorf("slot %d, block %d: deadline %d of ref %d ends with %d", s, i, at, p, low)
						}
						deadline = at
					}
					if err := checkEntry(ref, deadline, 0); err != nil {
						return err
					}
				}
				next = b.next
			}
			prev, i = i, next
		}
		if w.slots[s].tail != prev {
			return fmt.Errorf("slot %d ends with %d, tail is %d", s, prev, w.slots[s].tail)
		}
	}
	if len(entries) != w.entries.used || cancelled != w.cancelled || blocks != w.blocks.used {
		return fmt.Errorf("%d entries of %d, %d cancelled of %d and %d blocks of %d are in slots",
			len(entries), w.entries.used, cancelled, w.cancelled, blocks, w.blocks.used)
	}
	for c, mem := range w.entries.mem {
		for i := 0; mem != nil && i < slabChunk; i++ {
			if mem[i] != (timerEntry[T]{}) && mem[i].state == 0 {
				return fmt.Errorf("entry %d of chunk %d has left and is not zero: %+v", i, c, mem[i])
			}
		}
	}
	for c, mem := range w.blocks.mem {
		for i := 0; mem != nil && i < slabChunk; i++ {
			if (mem[i].live == 0) != (w.blocks.free[c][i/64]>>(i%64)&1 == 1) {
				return fmt.Errorf("block %d of chunk %d has refs %b, but whether it is free says otherwise", i, c, mem[i].live)
			}
		}
	}
	if err := checkTimerSlab(&w.entries); err != nil {
		return fmt.Errorf("entries: %w", err)
	}
	if err := checkTimerSlab(&w.blocks); err != nil {
		return fmt.Errorf("blocks: %w", err)
	}
	return nil
}

func checkTimerSlab[E any](s *timerSlab[E]) error {
	used, open, spare, vacant := 0, 0, 0, 0
	for c := range s.chunks {
		k := &s.chunks[c]
		free := 0
		for w, word := range s.free[c] {
			free += bits.OnesCount64(word)
			if (word != 0) != (k.words>>w&1 == 1) {
				return fmt.Errorf("chunk %d: word %d is %x, summary %b", c, w, word, k.words)
			}
		}
		if free+int(k.used) != slabChunk {
			return fmt.Errorf("chunk %d: %d free and %d used", c, free, k.used)
		}
		used += int(k.used)
		switch {
		case s.mem[c] == nil && k.used > 0:
			return fmt.Errorf("chunk %d was given back with %d elements in use", c, k.used)
		case s.mem[c] == nil:
			vacant++
		case k.used == 0:
			spare++
		case free > 0:
			open++
		}
	}
	if used != s.used || spare != s.spares || spare > 1+used/(slabChunk*slabSpare) {
		return fmt.Errorf("%d used, %d chunks spare; the account says %d, %d", used, spare, s.used, s.spares)
	}
	prev := noIndex
	for c := s.head; c != noIndex; c = s.chunks[c].next {
		if k := &s.chunks[c]; k.used == 0 || k.words == 0 || k.prev != prev {
			return fmt.Errorf("chunk %d is on the list wrongly", c)
		}
		prev = c
		open--
	}
	for c := s.spare; c != noIndex; c = s.chunks[c].next {
		spare--
	}
	for c := s.vacant; c != noIndex; c = s.chunks[c].next {
		vacant--
	}
	if open != 0 || spare != 0 || vacant != 0 || prev != s.tail {
		return fmt.Errorf("lists are wrong by %d open, %d spare, %d vacant chunks; tail %d", open, spare, vacant, s.tail)
	}
	return nil
}

func slabIsFree[E any](s *timerSlab[E], i uint32) bool {
	return s.free[i/slabChunk][i/64%slabWords]>>(i%64)&1 == 1
}
