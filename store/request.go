package store

import "errors"

const (
	// minReceipt is what a receipt begins with: its expiry.
	minReceipt = 8
	// recordOverhead is what a record takes in a page beside its body: its
	// entry there, the key and the checksum.
	recordOverhead = elementSize + keyBytes + sumBytes
)

var errRequest = errors.New("store: as many keys as bodies, and a receipt of 8 bytes or more")

// request is a call that waits for the disk.
type request struct {
	keys    []uint64
	bodies  [][]byte
	receipt []byte
	cancel  bool // keys are taken out and remembered as cancelled
	err     error
	done    chan struct{} // closed when err is settled
}

// bytes is what the request takes in the file.
func (r *request) bytes() int {
	n := len(r.receipt) + 2*recordOverhead
	for _, b := range r.bodies {
		n += len(b) + recordOverhead
	}
	return n
}

// settle tells the caller the outcome.
func (r *request) settle(err error) {
	r.err = err
	close(r.done)
}

// Add puts messages, named by their keys, on stable storage, and beside them a
// receipt, nil for none: all or nothing. It returns when they are safe there.
//
// A receipt begins with its expiry, milliseconds since the epoch in 8 bytes,
// big endian; later the store forgets it. The error wraps ErrFull or
// ErrReadOnly where one of them is the reason.
func (s *Store) Add(keys []uint64, bodies [][]byte, receipt []byte) error {
	if len(keys) != len(bodies) || receipt != nil && len(receipt) < minReceipt {
		return errRequest
	}
	return s.ask(&request{keys: keys, bodies: bodies, receipt: receipt})
}

// Cancel takes the message out, if it is there, and remembers that. It returns
// when both are safe on disk. Errors are as for Add.
func (s *Store) Cancel(key uint64) error {
	return s.ask(&request{keys: []uint64{key}, cancel: true})
}

func (s *Store) ask(r *request) error {
	r.done = make(chan struct{})
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return ErrClosed
	}
	s.queue = append(s.queue, r)
	s.mu.Unlock()
	s.nudge()
	<-r.done
	return r.err
}

// Remove takes out messages that were sent. It does not wait: the next commit
// that takes removals has them, removeDelay on at most, and later ones if that
// fails. Until then they take 8 bytes of memory each.
func (s *Store) Remove(keys []uint64) {
	s.mu.Lock()
	first := len(s.removes) == 0
	s.removes = append(s.removes, keys...)
	if first {
		s.since = now()
	}
	tell := first || len(s.removes) >= removeEnough
	s.mu.Unlock()
	if tell {
		s.nudge()
	}
}

// nudge wakes the committer.
func (s *Store) nudge() {
	select {
	case s.wake <- struct{}{}:
	default: // it has been woken already
	}
}
