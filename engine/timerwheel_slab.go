package engine

import (
	"math"
	"math/bits"
)

const (
	slabWords  = 16             // words of 64 bits that tell a chunk's free elements
	slabChunk  = slabWords * 64 // elements a chunk: with 20-byte elements a size class of the Go heap
	slabChunks = 1 << 18        // most chunks of a slab: a block's index has 28 bits
	slabSpare  = 8              // of so many chunks' worth of elements in use one chunk is kept spare
)

// timerSlab is an array of E that grows by chunks: no element ever moves, and
// a chunk without a used element can be given back to the garbage collector.
// Some of these are kept, in proportion to what is in use, or a wheel whose
// load swings would allocate again and again. An index stays below 2^28.
//
// Chunks are slices of equal length. For a pointer to an array the compiler
// tests for nil with a load from the beginning of the chunk, whatever the index,
// and that is a cache miss more for each element.
type timerSlab[E any] struct {
	mem    [][]E               // by chunk; nil: given back
	free   [][slabWords]uint64 // by chunk; bit i of word w: element w*64+i is free
	chunks []slabInfo          // by chunk
	used   int                 // elements in use
	spares int                 // chunks on the list spare

	head, tail uint32 // chunks that are in use in part, the next to fill first
	spare      uint32 // chunks that are free, linked by next alone
	vacant     uint32 // chunks that were given back, linked by next alone
}

// slabInfo is the account of a chunk. It is small and kept apart from the
// elements and the words of free, so that the accounts of ten million elements
// stay in a core's cache.
type slabInfo struct {
	words      uint16 // bit w: word w of free is not zero
	used       uint16
	next, prev uint32
}

func newTimerSlab[E any]() timerSlab[E] {
	return timerSlab[E]{head: noIndex, tail: noIndex, spare: noIndex, vacant: noIndex}
}

// at returns the element with index i, which must be in use.
func (s *timerSlab[E]) at(i uint32) *E { return &s.mem[i/slabChunk][i%slabChunk] }

// lookup is at for an index that need not be in use, or nil.
func (s *timerSlab[E]) lookup(i uint32) *E {
	if c := i / slabChunk; int(c) >= len(s.mem) || s.mem[c] == nil {
		return nil
	}
	return s.at(i)
}

// alloc takes the first free element of the chunk at the head of the list. Its
// content is what it was when it was released.
func (s *timerSlab[E]) alloc() (uint32, *E) {
	c := s.head
	if c == noIndex {
		c = s.openChunk()
	}
	k, free := &s.chunks[c], &s.free[c]
	word := bits.TrailingZeros16(k.words) % slabWords
	bit := bits.TrailingZeros64(free[word])
	if free[word] &= free[word] - 1; free[word] == 0 {
		if k.words &= k.words - 1; k.words == 0 {
			s.unlink(k)
		}
	}
	k.used++
	s.used++
	i := uint32(word*64 + bit)
	return c*slabChunk + i, &s.mem[c][i%slabChunk]
}

// release makes the element with index i free. A chunk that was full goes to
// the end of the list, so that more of it is free when its turn comes.
func (s *timerSlab[E]) release(i uint32) {
	c := i / slabChunk
	k := &s.chunks[c]
	if k.words == 0 {
		s.link(c, k)
	}
	word := i / 64 % slabWords
	s.free[c][word] |= 1 << (i % 64)
	k.words |= 1 << word
	k.used--
	s.used--
	if k.used == 0 {
		s.closeChunk(c, k)
	}
}

// openChunk puts a chunk of free elements on the empty list.
func (s *timerSlab[E]) openChunk() uint32 {
	c := s.spare
	if c != noIndex {
		s.spare = s.chunks[c].next
		s.spares--
	} else {
		c = s.addChunk()
	}
	s.link(c, &s.chunks[c])
	return c
}

// addChunk allocates a chunk.
func (s *timerSlab[E]) addChunk() uint32 {
	c := s.vacant
	if c != noIndex {
		s.vacant = s.chunks[c].next
	} else {
		if len(s.mem) == slabChunks {
			panic("engine: the timer wheel is full")
		}
		c = uint32(len(s.mem))
		s.mem = append(s.mem, nil)
		s.free = append(s.free, [slabWords]uint64{})
		s.chunks = append(s.chunks, slabInfo{words: math.MaxUint16})
		for w := range s.free[c] {
			s.free[c][w] = math.MaxUint64
		}
	}
	s.mem[c] = make([]E, slabChunk)
	return c
}

// closeChunk takes a chunk without a used element off the list, and gives back
// what is too many of the spare ones.
func (s *timerSlab[E]) closeChunk(c uint32, k *slabInfo) {
	s.unlink(k)
	k.next, s.spare = s.spare, c
	s.spares++
	for s.spares > 1+s.used/(slabChunk*slabSpare) {
		c = s.spare
		k = &s.chunks[c]
		s.spare = k.next
		s.spares--
		s.mem[c] = nil
		k.next, s.vacant = s.vacant, c
	}
}

// link puts a chunk at the end of the list.
func (s *timerSlab[E]) link(c uint32, k *slabInfo) {
	k.next, k.prev = noIndex, s.tail
	if s.tail == noIndex {
		s.head = c
	} else {
		s.chunks[s.tail].next = c
	}
	s.tail = c
}

// unlink takes a chunk off the list.
func (s *timerSlab[E]) unlink(k *slabInfo) {
	if k.prev == noIndex {
		s.head = k.next
	} else {
		s.chunks[k.prev].next = k.next
	}
	if k.next == noIndex {
		s.tail = k.prev
	} else {
		s.chunks[k.next].prev = k.prev
	}
}
