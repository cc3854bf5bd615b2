package engine

import "sync"

// recentKeys remembers the newest of the keys that it was given. The zero
// value is empty.
type recentKeys struct {
	mu    sync.Mutex
	known map[uint64]struct{}
	ring  []uint64 // oldest at next, once it is full
	next  int
}

const recentMost = 1 << 16

func (r *recentKeys) add(key uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known = make(map[uint64]struct{})
	}
	r.known[key] = struct{}{}
	if len(r.ring) < recentMost {
		r.ring = append(r.ring, key)
		return
	}
	delete(r.known, r.ring[r.next])
	r.ring[r.next] = key
	r.next = (r.next + 1) % recentMost
}

func (r *recentKeys) has(key uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.known[key]
	return ok
}
