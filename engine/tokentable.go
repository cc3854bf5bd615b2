package engine

// tokenTable finds the connections of a token: an open-addressing hash table
// with linear probing whose slots are the first connection of each token; the
// others of the same token hang behind it in a doubly linked list. It costs
// one pointer a slot, a third of what a Go map with string keys takes. The
// zero value is empty. Its shard's lock guards it.
type tokenTable struct {
	slots []*Conn // length is a power of two, at most 3/4 in use
	used  int     // slots in use: distinct tokens
}

const minTokenSlots = 8

// find returns the first connection of token, or nil. hash is the token's.
func (t *tokenTable) find(hash uint32, token string) *Conn {
	if len(t.slots) == 0 {
		return nil
	}
	mask := uint32(len(t.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		c := t.slots[i]
		if c == nil {
			return nil
		}
		if c.hash == hash && c.token == token {
			return c
		}
	}
}

// add enters c under c.token.
func (t *tokenTable) add(c *Conn) {
	if first := t.find(c.hash, c.token); first != nil {
		// One copy of the token for all of its connections.
		c.token = first.token
		c.prev, c.next = first, first.next
		if first.next != nil {
			first.next.prev = c
		}
		first.next = c
		return
	}
	if (t.used+1)*4 > len(t.slots)*3 {
		t.resize(max(minTokenSlots, 2*len(t.slots)))
	}
	t.place(c)
	t.used++
}

// remove takes c out.
func (t *tokenTable) remove(c *Conn) {
	next := c.next
	if next != nil {
		next.prev = c.prev
	}
	if c.prev != nil {
		c.prev.next = next
		c.prev, c.next = nil, nil
		return
	}
	// c holds the token's slot.
	c.next = nil
	mask := uint32(len(t.slots) - 1)
	i := c.hash & mask
	for t.slots[i] != c {
		i = (i + 1) & mask
	}
	if next != nil {
		t.slots[i] = next
		return
	}
	t.vacate(i)
	t.used--
	if n := len(t.slots); n > minTokenSlots && t.used*8 < n {
		t.resize(n / 2)
	}
}

// vacate empties slot i and moves up what had to probe past it (Knuth, TAOCP
// vol. 3, section 6.4, algorithm R), so that no tombstones are needed.
func (t *tokenTable) vacate(i uint32) {
	mask := uint32(len(t.slots) - 1)
	for j := (i + 1) & mask; t.slots[j] != nil; j = (j + 1) & mask {
		home := t.slots[j].hash & mask
		// Slot j may fill the gap if its home is not cyclically in (i, j].
		if (j-home)&mask >= (j-i)&mask {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = nil
}

func (t *tokenTable) resize(n int) {
	old := t.slots
	t.slots = make([]*Conn, n)
	for _, c := range old {
		if c != nil {
			t.place(c)
		}
	}
}

// place puts c into the first free slot from its home on.
func (t *tokenTable) place(c *Conn) {
	mask := uint32(len(t.slots) - 1)
	i := c.hash & mask
	for t.slots[i] != nil {
		i = (i + 1) & mask
	}
	t.slots[i] = c
}
