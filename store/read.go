package store

import (
	"encoding/binary"
	"errors"

	"go.etcd.io/bbolt"
)

const (
	// readKeys and readBytes bound what one transaction reads: while it runs
	// the file cannot grow past its map, and freed pages are not used again.
	readKeys  = 256
	readBytes = 1 << 20
	// namedKeys is how many damaged records a log line names.
	namedKeys = 20
)

// page is a part of the records, copied out of the mapped file: visitors take
// the time they need, and no fault of the disk can meet them.
type page struct {
	bytes   []byte
	records []record
}

type record struct {
	key      uint64
	from, to int // in bytes
	err      error
}

func (p *page) reset() { p.bytes, p.records = p.bytes[:0], p.records[:0] }

func (p *page) full() bool { return len(p.records) >= readKeys || len(p.bytes) >= readBytes }

// add takes over what is stored under key.
func (p *page) add(key, value []byte) {
	r := record{from: len(p.bytes)}
	body, err := unseal(key, value) // a key of another length fails here too
	if len(key) < keyBytes {
		err = ErrCorrupt
	} else {
		r.key = binary.BigEndian.Uint64(key)
	}
	if r.err = err; err == nil {
		p.bytes = append(p.bytes, body...)
	}
	r.to = len(p.bytes)
	p.records = append(p.records, r)
}

func (p *page) body(r record) []byte { return p.bytes[r.from:r.to:r.to] }

// view reads in the file as it is now.
func (s *Store) view(f func(tx *bbolt.Tx) error) error {
	s.dbMu.RLock()
	defer s.dbMu.RUnlock()
	if s.db == nil {
		return ErrClosed
	}
	return s.db.view(f)
}

// Load calls visit with the body of each of keys that is there, in their
// order. body is valid during the call; it is nil, with ErrCorrupt, for one that
// is damaged. Keys that the disk does not give, or whose pages the database does
// not understand, are left out, and the first reason is returned at the end:
// they may be there, and may be read another time.
func (s *Store) Load(keys []uint64, visit func(key uint64, body []byte, err error)) error {
	p := page{records: make([]record, 0, min(len(keys), readKeys))}
	var unread error
	for len(keys) > 0 {
		n, err := s.loadPage(&p, keys)
		if errors.As(err, &fault{}) { // by itself, to find the one that is lost
			if n, err = s.loadPage(&p, keys[:1]); errors.As(err, &fault{}) {
				n, p.records = 1, p.records[:0]
				if unread == nil {
					unread = err
				}
				err = nil
			}
		}
		if err != nil {
			return err
		}
		for _, r := range p.records {
			if r.err != nil {
				s.damaged.Add(1)
				visit(r.key, nil, r.err)
			} else {
				visit(r.key, p.body(r), nil)
			}
		}
		keys = keys[n:]
	}
	return unread
}

// loadPage reads the first n of keys.
func (s *Store) loadPage(p *page, keys []uint64) (n int, err error) {
	p.reset()
	err = s.view(func(tx *bbolt.Tx) error {
		messages := tx.Bucket(messageBucket)
		var key [keyBytes]byte
		for ; n < len(keys) && !p.full(); n++ {
			binary.BigEndian.PutUint64(key[:], keys[n])
			if value := messages.Get(key[:]); value != nil {
				p.add(key[:], value)
			}
		}
		return nil
	})
	return n, err
}

// Each calls visit for every message, in the order of keys. body is valid
// during the call. Damaged records are left out, counted and named in the log,
// and stay in the file. An error of visit ends it and is returned.
func (s *Store) Each(visit func(key uint64, body []byte) error) error {
	commits, want, n := s.commits.Load(), s.state.Load().pending, uint64(0)
	damaged, err := s.eachIn(messageBucket, "delayed pushes", func(key uint64, body []byte) error {
		n++
		return visit(key, body)
	})
	s.dbMu.RLock()
	if s.db != nil {
		s.db.release()
	}
	s.dbMu.RUnlock()
	if n += damaged; err == nil && n < want && commits == s.commits.Load() {
		s.damaged.Add(want - n)
		s.log.Error("delayed pushes are missing in the file, without a trace", "count", want-n)
	}
	return err
}

// Receipts calls visit for every receipt that has not expired, the one that
// expires first first. It is valid during the call, and begins with its expiry
// as it was given to Add. Damaged ones and errors are as for Each.
func (s *Store) Receipts(visit func(receipt []byte) error) error {
	ms := uint64(now().UnixMilli())
	_, err := s.eachIn(receiptBucket, "receipts", func(_ uint64, receipt []byte) error {
		if len(receipt) < minReceipt || binary.BigEndian.Uint64(receipt) <= ms {
			return nil
		}
		return visit(receipt)
	})
	return err
}

// eachIn calls visit for the records of a bucket; key is the number that the
// record's key begins with. It returns how many were damaged.
func (s *Store) eachIn(bucket []byte, what string, visit func(key uint64, body []byte) error) (damaged uint64, err error) {
	var p page
	var next []byte // the key after the last one that was read
	var broken []uint64
	for over := false; !over; {
		p.reset()
		err := s.view(func(tx *bbolt.Tx) error {
			at := tx.Bucket(bucket).Cursor()
			k, v := at.Seek(next)
			for ; k != nil && !p.full(); k, v = at.Next() {
				p.add(k, v)
				next = append(append(next[:0], k...), 0)
			}
			over = k == nil
			return nil
		})
		if err != nil {
			return 0, err
		}
		for _, r := range p.records {
			if r.err != nil {
				broken = append(broken, r.key)
			} else if err := visit(r.key, p.body(r)); err != nil {
				return 0, err
			}
		}
	}
	if len(broken) > 0 {
		s.damaged.Add(uint64(len(broken)))
		s.log.Error("damaged records are left in the file and not used", "what", what,
			"count", len(broken), "first_keys", broken[:min(len(broken), namedKeys)])
	}
	return uint64(len(broken)), nil
}

// Cancelled reports whether Cancel has taken out key, as far back as the store
// remembers. An error says that the file cannot be read.
func (s *Store) Cancelled(key uint64) (found bool, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		found = tx.Bucket(cancelBucket).Get(number(key)) != nil
		return nil
	})
	return found && err == nil, err
}
