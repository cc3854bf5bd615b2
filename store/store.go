package store

import (
	"crypto/rand"
	"encoding/binary"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
)

const (
	// DefaultCancelled is how many cancelled keys are remembered: a client
	// that asks twice is told the truth, and the file stays bounded.
	DefaultCancelled = 1_000_000
	// DefaultCompactAbove is the size in bytes of a file that Open does not
	// compact, however empty: what could be won is not worth the time.
	DefaultCompactAbove = 64 << 20

	secretBytes = 16
	// freshBits is the size of the number that a fresh store counts from, so
	// that keys of two folders hardly ever meet, and never exceed 52 bits.
	freshBits = 48
)

// Options of a store. The zero value serves.
type Options struct {
	Logger       *slog.Logger // nil: none; never given a body, a token or a receipt
	Cancelled    int          // cancelled keys that are remembered, 0: DefaultCancelled
	CompactAbove int64        // bytes, 0: DefaultCompactAbove
}

// Stats are the figures of a store.
type Stats struct {
	Pending   uint64 // messages in the file
	FileBytes int64  // size of the file
	Removals  int    // removals that wait for a commit
	Commits   uint64 // commits since Open that succeeded
	Failures  uint64 // commits since Open that failed
	Damaged   uint64 // damaged records that Load and Each have met since Open
}

// Store keeps delayed messages in a folder. Its methods are safe for
// concurrent use.
type Store struct {
	folder *folder
	secret []byte
	limits Options
	log    *slog.Logger

	// Owned by the committer.
	broken error // why the database cannot be written any more

	// dbMu is held for reading by whoever uses db, and for writing to replace
	// it. It is taken before mu.
	dbMu sync.RWMutex
	db   *database // nil after Close

	mu      sync.Mutex
	queue   []*request
	removes []uint64
	since   time.Time // when the first of removes came
	closing bool

	wake chan struct{} // tells the committer that there is something to do
	done chan struct{} // closed when the committer has ended

	state    atomic.Pointer[state]
	commits  atomic.Uint64
	failures atomic.Uint64
	damaged  atomic.Uint64
}

// Open opens the store in the folder dir and creates both if they are not
// there. It fails with ErrLocked, ErrDamaged, ErrNewer, ErrFull, ErrReadOnly,
// or an error of the file system.
func Open(dir string, o Options) (*Store, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Cancelled == 0 {
		o.Cancelled = DefaultCancelled
	}
	if o.CompactAbove == 0 {
		o.CompactAbove = DefaultCompactAbove
	}
	f, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{
		folder: f,
		limits: o,
		log:    o.Logger,
		wake:   make(chan struct{}, 1),
		done:   make(chan struct{}),
	}
	if s.db, err = openDatabase(f, o); err == nil {
		if err = s.begin(); err == nil {
			return s, nil
		}
		s.db.close()
	}
	f.close()
	return nil, classified(err)
}

// begin reads what the store knows and starts the committer.
func (s *Store) begin() error {
	err := s.db.view(func(tx *bbolt.Tx) error {
		st, secret, err := readMeta(tx)
		s.state.Store(&st)
		s.secret = secret
		return err
	})
	if err != nil {
		return err
	}
	go s.commitAll() // Close stops it and waits for it
	return nil
}

// LastKey is the largest key that was ever added, whether it is still there or
// not. A fresh store begins with a random number of 48 bits.
func (s *Store) LastKey() uint64 { return s.state.Load().last }

// Secret returns 16 random bytes that were made with the store.
func (s *Store) Secret() []byte { return append([]byte(nil), s.secret...) }

// Stats returns the figures of now.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	removals := len(s.removes)
	s.mu.Unlock()
	size := int64(0)
	s.dbMu.RLock()
	if s.db != nil {
		size = s.db.size()
	}
	s.dbMu.RUnlock()
	return Stats{
		Pending:   s.state.Load().pending,
		FileBytes: size,
		Removals:  removals,
		Commits:   s.commits.Load(),
		Failures:  s.failures.Load(),
		Damaged:   s.damaged.Load(),
	}
}

// Close commits what the store was given, and lets go of the folder. Calls
// that come later fail with ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	again := s.closing
	s.closing = true
	s.mu.Unlock()
	s.nudge()
	<-s.done
	if again {
		return nil
	}
	s.dbMu.Lock()
	defer s.dbMu.Unlock()
	err := s.db.close()
	s.db = nil
	if s.broken != nil {
		err = s.broken
	}
	if unlock := s.folder.close(); err == nil {
		err = unlock
	}
	return err
}

// fresh returns the state and the secret of a store that is made now.
func fresh() (state, []byte) {
	random := make([]byte, secretBytes+8)
	rand.Read(random) // never fails: crypto/rand
	start := binary.BigEndian.Uint64(random[secretBytes:]) >> (64 - freshBits)
	return state{last: start}, random[:secretBytes]
}
