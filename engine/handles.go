package engine

import (
	"cmp"
	"slices"
)

// handles finds where a delayed message waits by its key. Keys are given out in
// ascending order, so it is a sorted array, in leaves of 4096 possible keys each:
// what is new goes to the end of the last one. A message takes 6 bytes in it, and
// its share of the leaf's own 64 bytes: that is 100 bytes or so for one that has
// a leaf to itself, because only one push in 4096 is delayed. Its owner's lock
// guards it.
type handles struct {
	leaves []handleLeaf // by prefix, those that hold something and some others
	empty  int          // of the others
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
	leafNear = 64 // keys on either side of where one is looked for first
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
	prefix, n := key>>leafBits, uint64(len(t.leaves))
	if n == 0 || t.leaves[n-1].prefix < prefix { // most are new
		return int(n), false
	}
	// Without a gap between the leaves it is as far from the last one as its
	// prefix, else further to the right.
	from := n - min(n, t.leaves[n-1].prefix-prefix+1)
	if t.leaves[from].prefix == prefix {
		return int(from), true
	}
	i, ok = slices.BinarySearchFunc(t.leaves[from:], prefix, func(l handleLeaf, prefix uint64) int {
		return cmp.Compare(l.prefix, prefix)
	})
	return int(from) + i, ok
}

func (t *handles) get(key uint64) (handle, bool) {
	i, ok := t.leaf(key)
	if !ok {
		return noHandle, false
	}
	l := &t.leaves[i]
	j, ok := l.find(uint16(key & leafMask))
	if !ok || l.at[j] == noHandle {
		return noHandle, false
	}
	return l.at[j], true
}

// put notes where a message waits, in place of where it waited before.
func (t *handles) put(key uint64, h handle) {
	i, ok := t.leaf(key)
	if !ok {
		if i == len(t.leaves) && i > 0 {
			t.leaves[i-1].shrink()
		}
		t.leaves = slices.Insert(t.leaves, i, handleLeaf{prefix: key >> leafBits})
		t.empty++
	}
	l := &t.leaves[i]
	if l.live == 0 {
		t.empty--
	}
	rest := uint16(key & leafMask)
	j, ok := l.find(rest)
	switch {
	case !ok:
		if l.makeRoom(i == len(t.leaves)-1) {
			j, _ = l.find(rest) // the holes are gone
		}
		l.rests = slices.Insert(l.rests, j, rest)
		l.at = slices.Insert(l.at, j, h)
		l.live++
	case l.at[j] == noHandle:
		l.live++
	}
	l.at[j] = h
}

// find returns where a key is, or belongs.
func (l *handleLeaf) find(rest uint16) (j int, ok bool) {
	n := len(l.rests)
	if n == 0 || l.rests[n-1] < rest { // most are new
		return n, false
	}
	// If the keys are spread evenly it is here, or near.
	at := n * int(rest) >> leafBits
	if l.rests[at] == rest {
		return at, true
	}
	from, to := max(0, at-leafNear), min(n, at+leafNear)
	if l.rests[from] > rest || l.rests[to-1] < rest {
		from, to = 0, n
	}
	j, ok = slices.BinarySearch(l.rests[from:to], rest)
	return from + j, ok
}

// makeRoom makes room for one more key, or for many if the leaf is the last one.
// It reports whether it had to move the leaf.
func (l *handleLeaf) makeRoom(last bool) (moved bool) {
	n := len(l.rests)
	if n < cap(l.rests) {
		return false
	}
	room := n + n/4
	if last {
		room = 2 * n
	}
	l.copy(min(max(leafMin, room), 1<<leafBits))
	return true
}

// remove forgets where a message waited.
func (t *handles) remove(key uint64) {
	i, ok := t.leaf(key)
	if !ok {
		return
	}
	l := &t.leaves[i]
	j, ok := l.find(uint16(key & leafMask))
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

// shrink gives back the room for keys that come no more.
func (l *handleLeaf) shrink() {
	if n := len(l.rests); cap(l.rests) > n+n/4 {
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
