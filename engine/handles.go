package engine

import "slices"

// handles finds where a delayed message waits by its key. Keys are given out in
// ascending order, so it is a sorted array, in leaves of 4096 keys each: what is
// new goes to the end of the last one, and a message takes 6 bytes in it, or a
// little more where other keys lie between. Its owner's lock guards it.
type handles struct {
	leaves []handleLeaf // by prefix; one that holds nothing may be among them
	empty  int          // such leaves
}

// handleLeaf are the messages whose keys have one prefix, in the order of the
// rest of their keys. One that was removed leaves a hole.
type handleLeaf struct {
	prefix uint64
	rests  []uint16
	at     []handle
	live   int
}

const (
	leafBits = 12
	leafMask = 1<<leafBits - 1
	leafMin  = 16 // holes in a leaf, or empty leaves, that are not worth closing up
)

// handle is where a delayed message waits: the index of an entry in a wheel,
// with nearBit if that is the near wheel, or one of the words below.
type handle uint32

const (
	nearBit handle = 1 << 31 // above every index of a wheel

	// beingLoaded is the handle of a message between the wheels: it has left
	// the far one and its body is on its way from the disk.
	beingLoaded handle = 1 << 30

	// beingHeld is the handle of a message that is due and held back.
	beingHeld handle = 1<<30 | 1

	noHandle handle = 1<<30 | 2 // a hole
)

func farHandle(h timerHandle) handle  { return handle(h.index) }
func nearHandle(h timerHandle) handle { return handle(h.index) | nearBit }

// isNear reports whether the message is in the near wheel.
func (h handle) isNear() bool { return h&nearBit != 0 }

// index is that of the entry in the message's wheel.
func (h handle) index() uint32 { return uint32(h &^ nearBit) }

// leaf returns where the leaf of a key is, or belongs.
func (t *handles) leaf(key uint64) (i int, ok bool) {
	prefix, n := key>>leafBits, len(t.leaves)
	if n > 0 && t.leaves[n-1].prefix <= prefix { // most are new
		if t.leaves[n-1].prefix == prefix {
			return n - 1, true
		}
		return n, false
	}
	return slices.BinarySearchFunc(t.leaves, prefix, func(l handleLeaf, prefix uint64) int {
		if l.prefix < prefix {
			return -1
		}
		return int(min(l.prefix-prefix, 1))
	})
}

func (t *handles) get(key uint64) (handle, bool) {
	i, ok := t.leaf(key)
	if !ok {
		return noHandle, false
	}
	l := &t.leaves[i]
	j, ok := slices.BinarySearch(l.rests, uint16(key&leafMask))
	if !ok || l.at[j] == noHandle {
		return noHandle, false
	}
	return l.at[j], true
}

// put notes where a message waits, in place of where it waited before.
func (t *handles) put(key uint64, h handle) {
	i, ok := t.leaf(key)
	if !ok {
		t.leaves = slices.Insert(t.leaves, i, handleLeaf{prefix: key >> leafBits})
		t.empty++
	}
	l := &t.leaves[i]
	if l.live == 0 {
		t.empty--
	}
	l.put(uint16(key&leafMask), h)
}

func (l *handleLeaf) put(rest uint16, h handle) {
	j := len(l.rests)
	if j > 0 && l.rests[j-1] >= rest {
		j, _ = slices.BinarySearch(l.rests, rest)
	}
	switch {
	case j == len(l.rests) || l.rests[j] != rest:
		if n := len(l.rests); n == cap(l.rests) {
			l.copy(min(max(leafMin, n*5/4), 1<<leafBits))
			l.put(rest, h)
			return
		}
		l.rests = slices.Insert(l.rests, j, rest)
		l.at = slices.Insert(l.at, j, h)
		l.live++
	case l.at[j] == noHandle:
		l.live++
	}
	l.at[j] = h
}

// remove forgets where a message waited.
func (t *handles) remove(key uint64) {
	i, ok := t.leaf(key)
	if !ok {
		return
	}
	l := &t.leaves[i]
	j, ok := slices.BinarySearch(l.rests, uint16(key&leafMask))
	if !ok || l.at[j] == noHandle {
		return
	}
	l.at[j] = noHandle
	l.live--
	switch {
	case l.live == 0:
		*l = handleLeaf{prefix: l.prefix}
		if t.empty++; t.empty > len(t.leaves)/2+leafMin {
			t.leaves = slices.Clone(slices.DeleteFunc(t.leaves, func(l handleLeaf) bool { return l.live == 0 }))
			t.empty = 0
		}
	case len(l.rests) > 2*l.live+leafMin:
		l.copy(l.live)
	}
}

// copy moves a leaf to memory for room keys, and leaves the holes behind.
func (l *handleLeaf) copy(room int) {
	rests, at := make([]uint16, 0, room), make([]handle, 0, room)
	for j, h := range l.at {
		if h != noHandle {
			rests, at = append(rests, l.rests[j]), append(at, h)
		}
	}
	l.rests, l.at = rests, at
}
