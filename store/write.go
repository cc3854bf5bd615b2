package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
)

// expiredMost is how many receipts a commit forgets: what it does for others
// has a limit.
const expiredMost = 1000

// write commits the batch: all of it, or on an error nothing.
func (s *Store) write(b *batch) error {
	if s.broken != nil {
		return s.broken
	}
	err := s.attempt(b)
	if err == nil {
		s.commits.Add(1)
		return nil
	}
	s.failures.Add(1)
	return classified(err)
}

func (s *Store) attempt(b *batch) error {
	st := *s.state.Load()
	var id int
	committing := false
	stats := s.db.Stats()
	s.db.NoFreelistSync = stats.FreePageN+stats.PendingPageN > maxSyncedFree
	err := s.db.update(func(tx *bbolt.Tx) error {
		id = tx.ID()
		if err := s.db.makeRoom(tx, b); err != nil {
			return err
		}
		if err := s.apply(tx, b, &st); err != nil {
			return err
		}
		committing = true
		return nil
	})
	switch {
	case err == nil:
	case errors.As(err, &fault{}):
		s.broken = fmt.Errorf("the file of delayed pushes cannot be written any more, start the relay again: %w", err)
		s.log.Error("delayed pushes cannot be stored any more", "error", err)
		return s.broken
	case committing:
		if err = s.resolve(id, b, &st, err); err != nil {
			return err
		}
	default:
		return err
	}
	s.state.Store(&st)
	return nil
}

// resolve finds out what a failed commit has left. bbolt undoes it, except
// where the last write went to the file, but could not be synced: then the
// file as it is read now has it, and the one after a power loss may not.
func (s *Store) resolve(id int, b *batch, st *state, failed error) error {
	seen := 0
	look := func(tx *bbolt.Tx) error {
		seen = tx.ID()
		return nil
	}
	if s.db.view(look) != nil { // it has lost its map of the file
		if err := s.reopen(); err != nil {
			s.broken = fmt.Errorf("the file of delayed pushes could not be opened again: %w", err)
			return s.broken
		}
		if err := s.db.view(look); err != nil {
			return err
		}
	}
	if seen < id {
		return failed
	}
	if s.tidy() == nil {
		return nil // another commit went through, and it stands on this one
	}
	s.state.Store(st)
	var undo []uint64
	for _, r := range b.requests {
		if !r.cancel {
			undo = append(undo, r.keys...)
		}
	}
	s.giveBack(undo)
	return failed
}

// tidy commits nothing, but the list of free pages.
func (s *Store) tidy() error {
	s.db.NoFreelistSync = false
	return s.db.update(func(*bbolt.Tx) error { return nil })
}

// reopen opens the file again.
func (s *Store) reopen() error {
	s.dbMu.Lock()
	defer s.dbMu.Unlock()
	if err := s.db.close(); err != nil {
		return err
	}
	db, _, err := open(s.folder.file())
	if err != nil {
		return err
	}
	s.db = db
	return nil
}

// apply makes the changes of the batch in tx, and in st.
func (s *Store) apply(tx *bbolt.Tx, b *batch, st *state) error {
	before := *st
	messages, receipts, cancelled := tx.Bucket(messageBucket), tx.Bucket(receiptBucket), tx.Bucket(cancelBucket)
	messages.FillPercent = 1 // keys ascend: nothing will come in between
	receipts.FillPercent = 1
	for _, r := range b.requests {
		if r.cancel {
			if err := cancel(messages, cancelled, r.keys, st); err != nil {
				return err
			}
			continue
		}
		for i, k := range r.keys {
			key := number(k)
			if k > st.last {
				st.last = k
				st.pending++
			} else if messages.Get(key) == nil {
				st.pending++
			}
			if err := messages.Put(key, seal(key, r.bodies[i])); err != nil {
				return err
			}
		}
		if err := keepReceipt(receipts, r.receipt); err != nil {
			return err
		}
	}
	// In the order of keys, so that the pages of one are at hand for the next.
	removes := slices.Clone(b.removes)
	slices.Sort(removes)
	if err := remove(messages, removes, st); err != nil {
		return err
	}
	if err := forgetExpired(receipts, uint64(now().UnixMilli())); err != nil {
		return err
	}
	for oldest := cancelled.Cursor(); st.cancelled > uint64(s.limits.Cancelled); st.cancelled-- {
		if k, _ := oldest.First(); k == nil {
			break
		}
		if err := oldest.Delete(); err != nil {
			return err
		}
	}
	if *st == before {
		return nil
	}
	return tx.Bucket(metaBucket).Put(stateKey, seal(stateKey, st.encode()))
}

func remove(messages *bbolt.Bucket, keys []uint64, st *state) error {
	at := messages.Cursor()
	for _, k := range keys {
		key := number(k)
		if found, _ := at.Seek(key); !bytes.Equal(found, key) {
			continue
		}
		if err := at.Delete(); err != nil {
			return err
		}
		st.pending--
	}
	return nil
}

func cancel(messages, cancelled *bbolt.Bucket, keys []uint64, st *state) error {
	if err := remove(messages, keys, st); err != nil {
		return err
	}
	for _, k := range keys {
		key := number(k)
		if cancelled.Get(key) != nil {
			continue
		}
		if err := cancelled.Put(key, seal(key, nil)); err != nil {
			return err
		}
		st.cancelled++
	}
	return nil
}

// keepReceipt stores a receipt under its expiry and a counter, so that those
// that expire first come first.
func keepReceipt(receipts *bbolt.Bucket, receipt []byte) error {
	if receipt == nil {
		return nil
	}
	n, err := receipts.NextSequence()
	if err != nil {
		return err
	}
	key := append(slices.Clone(receipt[:minReceipt]), number(n)...)
	return receipts.Put(key, seal(key, receipt))
}

// forgetExpired deletes receipts from the front.
func forgetExpired(receipts *bbolt.Bucket, ms uint64) error {
	first := receipts.Cursor()
	for range expiredMost {
		k, _ := first.First()
		if len(k) < minReceipt || binary.BigEndian.Uint64(k) > ms {
			return nil
		}
		if err := first.Delete(); err != nil {
			return err
		}
	}
	return nil
}
