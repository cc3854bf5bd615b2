package engine

import (
	"cmp"
	"math"
	"slices"
)

// Place is a place in the order in which delayed messages are due. The zero
// Place is before all.
type Place struct {
	Due int64 // ms since the epoch
	Key uint64
}

// IsZero reports whether p is the zero Place.
func (p Place) IsZero() bool { return p == Place{} }

func (p Place) compare(q Place) int {
	return cmp.Or(cmp.Compare(p.Due, q.Due), cmp.Compare(p.Key, q.Key))
}

// scanSlice is how many entries of a wheel are looked at while its lock is
// held: some microseconds.
const scanSlice = 4096

// ListWaiting returns up to limit delayed messages behind a place, without
// their frames, in the order in which they are due and, where that is equal,
// of their keys. With a token it returns only those that are for it, "" being
// all. next is where the following page starts, the zero Place if there is
// none. With a token a page may be short, or empty, though there is a next.
//
// It looks at every message that waits, a slice at a time: no index is kept
// for it, and pushes go on meanwhile. What comes or goes during the call may
// be in the page or not.
func (e *Engine) ListWaiting(token string, after Place, limit int) (page []Delayed, next Place, err error) {
	d := e.delayed
	c := candidates{after: after, limit: limit, all: token == ""}
	if !c.all {
		c.tag = e.tagOf([]string{token})
	}
	places := d.collect(&c)
	keys := make([]uint64, len(places))
	for i, p := range places {
		keys[i] = p.Key
	}
	if page, err = d.look(keys); err != nil {
		return nil, Place{}, err
	}
	if token != "" {
		page = slices.DeleteFunc(page, func(m Delayed) bool { return !slices.Contains(m.Tokens, token) })
	}
	if len(places) == limit {
		next = places[limit-1]
	}
	return page, next, nil
}

// collect offers every message that waits to c. A message that moves from the
// far wheel to the near one meanwhile is offered once or twice. The order is
// that of the wheels: on the engine's clock, which does not jump.
func (d *delayed) collect(c *candidates) []Place {
	d.listing.Lock() // one at a time: it costs
	defer d.listing.Unlock()
	epoch := d.eng.began.UnixMilli()
	d.scan(func(cursor uint32) uint32 {
		return d.far.Scan(cursor, scanSlice, func(due uint64, _ timerHandle, f farEntry) {
			c.offer(Place{epoch + int64(due) - int64(f.early), f.key}, f.tag)
		})
	})
	d.scan(func(uint32) uint32 {
		for _, it := range d.loading {
			c.offer(Place{epoch + it.stated, it.key}, it.tag)
		}
		return 0
	})
	var tokens []string
	near := func(due uint64, p packed) {
		place := Place{epoch + int64(due), p.key()}
		if d.missed.has(p) {
			place.Due = max(p.due(), epoch-math.MaxUint32) // as in the far wheel
		}
		tokens, _ = p.tokens(tokens[:0])
		c.offer(place, d.eng.tagOf(tokens))
	}
	var head []byte
	d.scan(func(cursor uint32) uint32 {
		return d.near.Scan(cursor, scanSlice, func(due uint64, _ timerHandle, r bodyRef) {
			head = d.bodies.appendFrameless(head[:0], r)
			near(due, packedFrom(head)) // which keeps nothing of it
		})
	})
	d.scan(func(uint32) uint32 {
		for _, it := range d.held {
			if it.body != "" {
				near(it.at, it.body)
			}
		}
		return 0
	})
	return c.first()
}

// scan calls step with the lock held until it returns 0.
func (d *delayed) scan(step func(cursor uint32) uint32) {
	for cursor := uint32(0); ; {
		d.mu.Lock()
		cursor = step(cursor)
		d.mu.Unlock()
		if cursor == 0 {
			return
		}
	}
}

// candidates keeps the first places of all that it is offered.
type candidates struct {
	after  Place
	limit  int
	all    bool
	tag    uint32 // of the token that is looked for, unless all
	places []Place
}

func (c *candidates) offer(p Place, tag uint32) {
	if !c.all && tag != c.tag && tag != tagSeveral || p.compare(c.after) <= 0 {
		return
	}
	if c.places = append(c.places, p); len(c.places) >= 4*c.limit {
		c.cut()
	}
}

// first returns the first limit places in order.
func (c *candidates) first() []Place {
	c.cut()
	return c.places
}

func (c *candidates) cut() {
	slices.SortFunc(c.places, Place.compare)
	c.places = slices.Compact(c.places)
	c.places = c.places[:min(len(c.places), c.limit)]
}
