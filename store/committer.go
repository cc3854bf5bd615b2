package store

import (
	"errors"
	"runtime"
	"slices"
	"time"
)

const (
	// batchBytes bounds a commit, and so how long it takes: about 50 ms.
	batchBytes = 8 << 20
	// removeDelay is how long a removal waits for others. Each costs a page
	// or two wherever it is, fewer if a neighbour goes in the same commit.
	removeDelay = 20 * time.Millisecond
	// removeEnough removals do not wait any longer, and removeMost go in one
	// commit.
	removeEnough = 1024
	removeMost   = 2048
	// removeLeast is the part of them that is still tried on a full disk.
	removeLeast = 8
	// retryDelay is how long removals wait after a commit of theirs failed.
	retryDelay = time.Second
	// never is when there is nothing to wait for.
	never = time.Hour
)

// batch is what one commit takes.
type batch struct {
	requests []*request
	removes  []uint64
}

func now() time.Time { return time.Now() }

// commitAll is the committer: it alone writes. What comes while it commits is
// the next commit. It ends when the store is closing and all is done.
func (s *Store) commitAll() {
	defer close(s.done)
	var retry time.Time // removals that failed wait until then
	timer := time.NewTimer(never)
	defer timer.Stop()
	for {
		s.gather()
		b, wait, over := s.take(retry)
		switch {
		case b != nil:
			left, err := s.commit(b)
			if len(left) > 0 {
				if retry.IsZero() { // once, until it goes well again
					s.log.Warn("delayed pushes that were sent stay in the file until it can be written", "error", err)
				}
				retry = now().Add(retryDelay)
				s.giveBack(left)
			} else if len(b.removes) > 0 {
				retry = time.Time{}
			}
			continue
		case over:
			s.finish()
			return
		}
		timer.Reset(wait)
		select {
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// gather lets those come along whom the last commit has let go, or who are
// just about to ask, for as long as somebody comes: a commit costs the same
// for one as for many.
func (s *Store) gather() {
	for before := -1; ; runtime.Gosched() {
		s.mu.Lock()
		n := len(s.queue)
		s.mu.Unlock()
		if n == before || n == 0 {
			return
		}
		before = n
	}
}

// take returns what the next commit has to do, nil if there is nothing to do
// yet, but maybe after wait. over says that there will be nothing any more.
func (s *Store) take(retry time.Time) (b *batch, wait time.Duration, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait = never
	due := false
	if len(s.removes) > 0 && !s.closing { // finish has the last of them
		ready := s.since.Add(removeDelay)
		if len(s.removes) >= removeEnough {
			ready = time.Time{}
		}
		if retry.After(ready) {
			ready = retry
		}
		wait = max(ready.Sub(now()), 0)
		due = wait == 0
	}
	if len(s.queue) == 0 && !due {
		return nil, wait, s.closing
	}
	b = &batch{}
	n := 0
	for size := 0; n < len(s.queue) && (n == 0 || size+s.queue[n].bytes() <= batchBytes); n++ {
		size += s.queue[n].bytes()
	}
	b.requests = slices.Clone(s.queue[:n])
	s.queue = slices.Delete(s.queue, 0, n)
	if due {
		most := min(len(s.removes), removeMost)
		b.removes = slices.Clone(s.removes[:most])
		if s.removes = slices.Delete(s.removes, 0, most); len(s.removes) == 0 {
			s.removes = nil // it may have been long
		}
	}
	return b, 0, false
}

// giveBack keeps removals that could not be committed.
func (s *Store) giveBack(left []uint64) {
	s.mu.Lock()
	s.removes = append(s.removes, left...)
	s.mu.Unlock()
}

// commit makes the batch safe on disk, as one if that goes, and settles its
// requests. It returns the removals that have to be tried again, and why.
func (s *Store) commit(b *batch) (left []uint64, err error) {
	err = s.write(b)
	if !errors.Is(err, ErrFull) || len(b.requests)+len(b.removes) == 1 {
		for _, r := range b.requests {
			r.settle(err)
		}
		if err != nil {
			left = b.removes
		}
		return left, err
	}
	// There is no room for all of it. Removals make some; then whoever comes
	// first is served, until one is refused.
	left, why := s.removeInParts(b.removes, len(b.removes)/2)
	for i, r := range b.requests {
		if err := s.write(&batch{requests: []*request{r}}); err != nil {
			for _, rest := range b.requests[i:] {
				rest.settle(err)
			}
			break
		}
		r.settle(nil)
	}
	return left, why
}

// removeInParts commits removals, part of them at a time or fewer if there is
// no room for that, and returns those that it could not, and why.
func (s *Store) removeInParts(keys []uint64, part int) (left []uint64, err error) {
	for len(keys) > 0 {
		part = min(max(part, removeLeast), len(keys))
		err := s.write(&batch{removes: keys[:part]})
		switch {
		case err == nil:
			keys = keys[part:]
		case errors.Is(err, ErrFull) && part > removeLeast:
			part /= 4
		default:
			return keys, err
		}
	}
	return nil, nil
}

// finish commits the last removals, and leaves the file as the next start
// finds it fastest.
func (s *Store) finish() {
	s.mu.Lock()
	removes := s.removes
	s.removes = nil
	s.mu.Unlock()
	if left, err := s.removeInParts(removes, removeMost); len(left) > 0 {
		s.log.Error("delayed pushes that were sent could not be taken out of the file, and will be sent again",
			"count", len(left), "error", err)
	}
	if s.broken == nil && s.commits.Load() > 0 {
		if err := s.tidy(); err != nil {
			s.log.Warn("the list of free pages could not be written", "error", err)
		}
	}
}
