package engine

// roster is a shard's connections: all of them in a dense array, which is what
// a sweep walks, and those with a token in a hash table that finds them. The
// table has open addressing with linear probing; a slot is the place in the
// array of the first connection of a token, and the others of the same token
// hang behind it in a doubly linked list of places. Places instead of pointers
// cost half, and nothing to the garbage collector. A byte of the hash beside each
// slot spares nearly all looks at other connections, each of which would be a
// miss of the cache. The zero value is empty. Its shard's lock guards it.
type roster struct {
	conns []*Conn
	slots []place // length is a power of two, at most 3/4 in use
	marks []uint8 // of each slot: markOf the hash, 0 if it is free
	used  int     // slots in use: distinct tokens
}

// markOf is a byte of a hash, never 0, that hardly depends on those bits which
// tell the slot.
func markOf(hash uint32) uint8 { return uint8(hash>>24) | 1 }

// place is one more than an index in conns; 0 is none.
type place uint32

const minSlots = 8

// at returns the connection at a place that is not 0.
func (r *roster) at(p place) *Conn { return r.conns[p-1] }

// find returns the first connection of token, or nil. hash is the token's.
func (r *roster) find(hash uint32, token string) *Conn {
	for i, ok := r.candidate(hash, hash); ok; i, ok = r.candidate(hash, i+1) {
		if c := r.at(r.slots[i]); c.hash == hash && c.token == token {
			return c
		}
	}
	return nil
}

// likely is the first connection that find looks at, or nil: as good as always
// what it finds.
func (r *roster) likely(hash uint32) *Conn {
	if i, ok := r.candidate(hash, hash); ok {
		return r.at(r.slots[i])
	}
	return nil
}

// candidate returns the first slot from number i on, modulo their count, that has
// the mark of hash. It reports false if a free one comes before.
func (r *roster) candidate(hash, i uint32) (slot uint32, ok bool) {
	if len(r.marks) == 0 {
		return 0, false
	}
	mask, mark := uint32(len(r.marks)-1), markOf(hash)
	for i &= mask; r.marks[i] != mark; i = (i + 1) & mask {
		if r.marks[i] == 0 {
			return 0, false
		}
	}
	return i, true
}

// following returns the next connection of c's token, or nil.
func (r *roster) following(c *Conn) *Conn {
	if c.next == 0 {
		return nil
	}
	return r.at(c.next)
}

// insert enters c, under its token if it has one.
func (r *roster) insert(c *Conn) {
	r.conns = append(r.conns, c)
	c.here, c.prev, c.next = place(len(r.conns)), 0, 0
	if c.token == "" {
		return
	}
	if first := r.find(c.hash, c.token); first != nil {
		c.token = first.token // one copy for all of its connections
		c.prev, c.next = first.here, first.next
		if first.next != 0 {
			r.at(first.next).prev = c.here
		}
		first.next = c.here
		return
	}
	if (r.used+1)*4 > len(r.slots)*3 {
		r.resize(max(minSlots, 2*len(r.slots)))
	}
	r.put(c)
	r.used++
}

// remove takes c out. The last connection of the array fills its place.
func (r *roster) remove(c *Conn) {
	if c.token != "" {
		r.unlink(c)
	}
	last := len(r.conns) - 1
	moved := r.conns[last]
	if moved != c {
		was := moved.here
		moved.here = c.here
		r.conns[c.here-1] = moved
		if moved.token != "" {
			r.relink(moved, was)
		}
	}
	r.conns[last] = nil
	r.conns = r.conns[:last]
	if cap(r.conns) > 1024 && len(r.conns) < cap(r.conns)/4 {
		r.conns = append(make([]*Conn, 0, cap(r.conns)/2), r.conns...)
	}
	if n := len(r.slots); n > minSlots && r.used*8 < n {
		r.resize(n / 2)
	}
}

// unlink takes c out of the table and its token's list.
func (r *roster) unlink(c *Conn) {
	if c.next != 0 {
		r.at(c.next).prev = c.prev
	}
	switch {
	case c.prev != 0:
		r.at(c.prev).next = c.next
	case c.next != 0:
		r.slots[r.slotOf(c, c.here)] = c.next
	default:
		r.vacate(r.slotOf(c, c.here))
		r.used--
	}
}

// relink corrects what leads to c, which has moved from the place was.
func (r *roster) relink(c *Conn, was place) {
	if c.next != 0 {
		r.at(c.next).prev = c.here
	}
	if c.prev != 0 {
		r.at(c.prev).next = c.here
	} else {
		r.slots[r.slotOf(c, was)] = c.here
	}
}

// slotOf returns the slot that holds p, the place of c, the first of its token.
func (r *roster) slotOf(c *Conn, p place) uint32 {
	mask := uint32(len(r.slots) - 1)
	i := c.hash & mask
	for r.slots[i] != p {
		i = (i + 1) & mask
	}
	return i
}

// vacate empties slot i and moves up what had to probe past it (Knuth, TAOCP
// vol. 3, section 6.4, algorithm R), so that no tombstones are needed.
func (r *roster) vacate(i uint32) {
	mask := uint32(len(r.slots) - 1)
	for j := (i + 1) & mask; r.slots[j] != 0; j = (j + 1) & mask {
		home := r.at(r.slots[j]).hash & mask
		// Slot j may fill the gap if its home is not cyclically in (i, j].
		if (j-home)&mask >= (j-i)&mask {
			r.slots[i], r.marks[i] = r.slots[j], r.marks[j]
			i = j
		}
	}
	r.slots[i], r.marks[i] = 0, 0
}

func (r *roster) resize(n int) {
	old := r.slots
	r.slots, r.marks = make([]place, n), make([]uint8, n)
	for _, p := range old {
		if p != 0 {
			r.put(r.at(p))
		}
	}
}

// put enters c into the first free slot from its home on.
func (r *roster) put(c *Conn) {
	mask := uint32(len(r.slots) - 1)
	i := c.hash & mask
	for r.slots[i] != 0 {
		i = (i + 1) & mask
	}
	r.slots[i], r.marks[i] = c.here, markOf(c.hash)
}
