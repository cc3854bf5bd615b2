package store

import (
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// enqueue puts requests into the queue as one, so that the committer finds
// them together.
func enqueue(s *Store, removes []uint64, requests ...*request) {
	s.mu.Lock()
	for _, r := range requests {
		r.done = make(chan struct{})
		s.queue = append(s.queue, r)
	}
	s.removes = append(s.removes, removes...)
	s.mu.Unlock() // since is long ago: the removals are due
	s.nudge()
	for _, r := range requests {
		<-r.done
	}
}

func TestWhatWaitsIsOneCommit(t *testing.T) {
	s := openIn(t, t.TempDir(), Options{})
	last := s.LastKey()
	mustAdd(t, s, last+1, "is removed")
	mustAdd(t, s, last+2, "is cancelled")
	before := s.Stats().Commits
	want := map[uint64]string{}
	requests := []*request{{keys: []uint64{last + 2}, cancel: true}}
	for k := last + 3; k < last+100; k++ {
		requests = append(requests, &request{keys: []uint64{k}, bodies: [][]byte{[]byte("x")}})
		want[k] = "x"
	}
	enqueue(s, []uint64{last + 1}, requests...)
	for _, r := range requests {
		if r.err != nil {
			t.Fatal(r.err)
		}
	}
	if n := s.Stats().Commits - before; n != 1 {
		t.Errorf("%d commits instead of one", n)
	}
	wantContents(t, s, want)
}

func TestPublishersShareCommits(t *testing.T) {
	s := openIn(t, t.TempDir(), Options{})
	const each = 20
	first := s.LastKey() + 1
	var start, wg sync.WaitGroup
	start.Add(1)
	for p := range uint64(publishers) {
		wg.Go(func() {
			start.Wait()
			for i := range uint64(each) {
				if err := s.Add([]uint64{first + p*each + i}, [][]byte{nil}, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	start.Done()
	wg.Wait()
	if got := s.Stats(); got.Commits >= publishers*each || got.Pending != publishers*each {
		t.Errorf("%d commits for %d messages, of which %d are there", got.Commits, publishers*each, got.Pending)
	}
}

// TestRemovalNeedsNobodyElse waits for a removal that no other call carries.
func TestRemovalNeedsNobodyElse(t *testing.T) {
	s := openIn(t, t.TempDir(), Options{})
	key := s.LastKey() + 1
	mustAdd(t, s, key, "goes")
	s.Remove([]uint64{key})
	waitFor(t, func() bool { return s.Stats().Pending == 0 })
}

func TestBatchIsBounded(t *testing.T) {
	s := openIn(t, t.TempDir(), Options{})
	last := s.LastKey()
	before := s.Stats().Commits
	var requests []*request
	for i := range uint64(6) { // two of these are a batch
		requests = append(requests, &request{keys: []uint64{last + 1 + i}, bodies: [][]byte{make([]byte, batchBytes/2-1000)}})
	}
	enqueue(s, nil, requests...)
	if n := s.Stats().Commits - before; n != 3 {
		t.Errorf("%d commits instead of 3", n)
	}
}

func TestRequestGroupIsAllOrNothing(t *testing.T) {
	s := openIn(t, t.TempDir(), Options{})
	last := s.LastKey()
	mustAdd(t, s, last+1, "stays")
	before := s.Stats()
	// bbolt refuses a body of 2 GiB or more; a batch with one fails whole, and
	// what apply did before has no effect.
	refused := errors.New("refused")
	err := s.db.update(func(tx *bbolt.Tx) error {
		st := *s.state.Load()
		b := &batch{requests: []*request{{keys: []uint64{last + 2}, bodies: [][]byte{nil}}}, removes: []uint64{last + 1}}
		if err := s.apply(tx, b, &st); err != nil {
			return err
		}
		return refused
	})
	if err != refused {
		t.Fatal(err)
	}
	if s.Stats() != before {
		t.Errorf("the figures changed: %+v, before %+v", s.Stats(), before)
	}
	mustAdd(t, s, last+3, "comes")
	wantContents(t, s, map[uint64]string{last + 1: "stays", last + 3: "comes"})
}

// TestCommitIsResolved covers the two outcomes of a commit whose last sync
// failed, and a map of the file that was lost.
func TestCommitIsResolved(t *testing.T) {
	failed := errors.New("failed")
	newBatch := func(s *Store) *batch {
		return &batch{requests: []*request{{keys: []uint64{s.LastKey() + 1}, bodies: [][]byte{[]byte("x")}}}}
	}
	t.Run("the file has it, and the next commit goes through", func(t *testing.T) {
		s := openIn(t, t.TempDir(), Options{})
		b, st, id := newBatch(s), *s.state.Load(), 0
		if err := s.db.update(func(tx *bbolt.Tx) error { id = tx.ID(); return s.apply(tx, b, &st) }); err != nil {
			t.Fatal(err)
		}
		if err := s.resolve(id, b, &st, failed); err != nil {
			t.Errorf("resolve: %v", err)
		}
	})
	t.Run("the file has it, and the next commit fails too", func(t *testing.T) {
		s := openIn(t, t.TempDir(), Options{})
		b, st, id := newBatch(s), *s.state.Load(), 0
		if err := s.db.update(func(tx *bbolt.Tx) error { id = tx.ID(); return s.apply(tx, b, &st) }); err != nil {
			t.Fatal(err)
		}
		good := sabotage(t, s)
		if err := s.resolve(id, b, &st, failed); err != failed {
			t.Errorf("resolve: %v", err)
		}
		mend(t, s, good)
		s.nudge()
		waitFor(t, func() bool { return s.Stats().Commits == 1 })
		wantContents(t, s, map[uint64]string{})
		if s.LastKey() != st.last {
			t.Error("the key could be given out again")
		}
	})
	t.Run("the file has it not", func(t *testing.T) {
		s := openIn(t, t.TempDir(), Options{})
		st, id := *s.state.Load(), 0
		s.db.update(func(tx *bbolt.Tx) error { id = tx.ID(); return failed })
		if err := s.resolve(id, newBatch(s), &st, failed); err != failed {
			t.Errorf("resolve: %v", err)
		}
		if s.Stats().Removals != 0 {
			t.Error("something is to be undone")
		}
	})
	t.Run("the map is lost", func(t *testing.T) {
		s := openIn(t, t.TempDir(), Options{})
		key := s.LastKey() + 1
		mustAdd(t, s, key, "stays")
		s.db.DB.Close()
		if err := s.resolve(1<<40, newBatch(s), &state{}, failed); err != failed {
			t.Errorf("resolve: %v", err)
		}
		mustAdd(t, s, key+1, "comes")
		wantContents(t, s, map[uint64]string{key: "stays", key + 1: "comes"})
	})
}

func TestErrorsAreClassified(t *testing.T) {
	for _, c := range []struct {
		err  error
		want error
	}{
		{syscall.ENOSPC, ErrFull}, {syscall.EDQUOT, ErrFull}, {syscall.EFBIG, ErrFull},
		{syscall.EROFS, ErrReadOnly}, {syscall.EACCES, ErrReadOnly},
	} {
		wrapped := errors.Join(errors.New("writing"), c.err)
		if got := classified(wrapped); !errors.Is(got, c.want) || !errors.Is(got, c.err) {
			t.Errorf("%v became %v", c.err, got)
		}
		if got := classified(classified(wrapped)); got.Error() != classified(wrapped).Error() {
			t.Errorf("%v is wrapped twice", got)
		}
	}
	if got := classified(syscall.EIO); got != syscall.EIO {
		t.Errorf("EIO became %v", got)
	}
}

// TestRemovalsWaitAfterAFailure looks at take alone: no clock, no disk.
func TestRemovalsWaitAfterAFailure(t *testing.T) {
	s := &Store{removes: []uint64{1, 2}, since: now().Add(-time.Hour)}
	if b, wait, over := s.take(now().Add(time.Hour)); b != nil || over || wait < time.Minute {
		t.Errorf("with a retry in an hour: %v, %v, %v", b, wait, over)
	}
	s.queue = []*request{{}}
	if b, _, _ := s.take(now().Add(time.Hour)); b == nil || len(b.requests) != 1 || len(b.removes) != 0 {
		t.Errorf("a request is not held up, nor takes removals along: %+v", b)
	}
	if b, _, _ := s.take(time.Time{}); b == nil || len(b.removes) != 2 || s.removes != nil {
		t.Errorf("without: %+v", b)
	}
	s.closing = true
	if b, _, over := s.take(time.Time{}); b != nil || !over {
		t.Errorf("closing, with nothing left: %+v, %v", b, over)
	}
}
