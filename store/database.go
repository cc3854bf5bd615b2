package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// The buckets of the file.
var (
	metaBucket    = []byte("meta")
	messageBucket = []byte("messages")  // key: checksum, body
	receiptBucket = []byte("receipts")  // expiry, counter: checksum, receipt
	cancelBucket  = []byte("cancelled") // key: nothing

	versionKey = []byte("version")
	secretKey  = []byte("secret")
	stateKey   = []byte("state")
)

const (
	// fileVersion is written into a new file. A file of a later one is left
	// alone.
	fileVersion = 1
	// maxSyncedFree is how many free pages a commit lists in the file: 128 KiB
	// of numbers. With more it would write little else. Then the next start
	// finds them, since it reads the whole file anyway.
	maxSyncedFree = 16384
)

// database is the open file.
type database struct {
	*bbolt.DB
	file     *os.File // bbolt's own; for its size and its room
	pageSize int64
	lost     atomic.Bool // a fault may have left bbolt's locks locked
}

// openDatabase opens the file of a folder, which it creates or compacts first
// if need be.
func openDatabase(f *folder, o Options) (*database, error) {
	if err := f.dropNew(); err != nil {
		return nil, err
	}
	there, err := f.holdsFile()
	if err != nil {
		return nil, err
	}
	if !there {
		if err := create(f); err != nil {
			f.dropNew()
			return nil, fmt.Errorf("creating the file of delayed pushes: %w", err)
		}
	}
	db, behind, err := open(f.file())
	if err != nil {
		return nil, damage(f, err)
	}
	if err := db.view(checkVersion); err != nil {
		db.close()
		return nil, damage(f, err)
	}
	if behind {
		o.Logger.Warn("one of the two heads of the file of delayed pushes is unreadable: if it was the newer, the last commit before the stop is missing")
	}
	used := int64(0)
	err = db.view(func(tx *bbolt.Tx) error {
		used = tx.Size() - int64(db.Stats().FreePageN)*db.pageSize
		return nil
	})
	if size := db.size(); err == nil && size > o.CompactAbove && used < size/2 {
		return compacted(f, db, o)
	}
	return db, nil
}

// damage says what to do about a file that is not to be trusted.
func damage(f *folder, err error) error {
	if errors.Is(err, berrors.ErrTimeout) { // a tool that looks into the file
		return fmt.Errorf("%s: %w", f.file(), ErrLocked)
	}
	if broken := (fault{}); errors.Is(err, errStructure) || errors.Is(err, ErrCorrupt) || errors.As(err, &broken) {
		return fmt.Errorf("%w: %s: %w; %s", ErrDamaged, f.file(), err, moveAdvice)
	}
	return fmt.Errorf("%s: %w", f.file(), err)
}

// open opens the file at path, which is there, after a look at its pages.
// Nothing is written.
func open(path string) (db *database, behind bool, err error) {
	db = &database{}
	err = guarded(func() (err error) {
		db.DB, err = bbolt.Open(path, fileMode, &bbolt.Options{
			Timeout:        time.Millisecond, // the folder's lock keeps others out
			NoFreelistSync: true,             // until something is committed: see attempt
			FreelistType:   bbolt.FreelistMapType,
			OpenFile: func(path string, flag int, mode os.FileMode) (*os.File, error) {
				file, err := os.OpenFile(path, flag&^os.O_CREATE, mode)
				if err != nil {
					return nil, err
				}
				info, err := file.Stat()
				if err == nil {
					behind, err = inspect(file, info.Size())
				}
				if err != nil {
					file.Close()
					return nil, err
				}
				db.file = file
				return file, nil
			},
		})
		return err
	})
	if err != nil {
		if db.file != nil {
			db.file.Close() // for the case of a fault: bbolt has not closed it
		}
		return nil, false, err
	}
	db.pageSize = int64(db.Info().PageSize)
	return db, behind, nil
}

// checkVersion refuses what is a database, but not of this package, or of a
// later version of it.
func checkVersion(tx *bbolt.Tx) error {
	meta := tx.Bucket(metaBucket)
	if meta == nil {
		return fmt.Errorf("%w: it is another program's", errStructure)
	}
	version, err := unseal(versionKey, meta.Get(versionKey))
	if err != nil || len(version) != 8 {
		return fmt.Errorf("%w: its version", ErrCorrupt)
	}
	if v := binary.BigEndian.Uint64(version); v > fileVersion {
		return fmt.Errorf("%w (version %d, this relay knows %d): start that relay again, or %s", ErrNewer, v, fileVersion, moveAdvice)
	}
	for _, name := range [][]byte{messageBucket, receiptBucket, cancelBucket} {
		if tx.Bucket(name) == nil {
			return fmt.Errorf("%w: the bucket %s is missing", errStructure, name)
		}
	}
	_, _, err = readMeta(tx)
	return err
}

func readMeta(tx *bbolt.Tx) (st state, secret []byte, err error) {
	meta := tx.Bucket(metaBucket)
	value, err := unseal(stateKey, meta.Get(stateKey))
	if err != nil {
		return st, nil, fmt.Errorf("its state: %w", err)
	}
	if st, err = decodeState(value); err != nil {
		return st, nil, fmt.Errorf("its state: %w", err)
	}
	if secret, err = unseal(secretKey, meta.Get(secretKey)); err != nil {
		return st, nil, fmt.Errorf("its secret: %w", err)
	}
	return st, append([]byte(nil), secret...), nil
}

// view reads. f must not keep what it gets from tx, nor take long: pages that
// are freed meanwhile are not used again before it returns.
func (d *database) view(f func(tx *bbolt.Tx) error) error {
	// A fault in the head of the file would leave bbolt's locks locked.
	if d.lost.Load() || d.size() < 2*d.pageSize {
		return fault{"it is not there any more"}
	}
	began := false
	err := guarded(func() error {
		return d.View(func(tx *bbolt.Tx) error {
			began = true
			return f(tx)
		})
	})
	if !began && errors.As(err, &fault{}) {
		d.lost.Store(true)
	}
	return err
}

// update writes. Only the committer calls it. After a fault it must not be
// called again.
func (d *database) update(f func(tx *bbolt.Tx) error) error {
	if d.lost.Load() || d.size() < 2*d.pageSize {
		return fault{"it is not there any more"}
	}
	// A fault in f is caught within the transaction, which can then be undone
	// without reading the file: others may go on reading it.
	ended := false
	err := guarded(func() error {
		err := d.Update(func(tx *bbolt.Tx) error {
			return guarded(func() error { return f(tx) })
		})
		ended = true
		return err
	})
	if !ended {
		d.lost.Store(true)
	}
	return err
}

// release lets go of the pages of the file that reading has mapped. They stay
// in the system's cache, but do not count as the relay's memory any more.
func (d *database) release() {
	d.view(func(tx *bbolt.Tx) error { // the map stays where it is meanwhile
		syscall.Syscall(syscall.SYS_MADVISE, d.Info().Data, uintptr(tx.Size()), syscall.MADV_DONTNEED)
		return nil
	})
}

// size returns the size of the file in bytes, 0 if it cannot be had.
func (d *database) size() int64 {
	var stat syscall.Stat_t
	if syscall.Fstat(int(d.file.Fd()), &stat) != nil {
		return 0
	}
	return stat.Size
}

// close lets go of the file. After a fault bbolt may hold its locks for ever,
// and the map of the file stays.
func (d *database) close() error {
	if d.lost.Load() {
		return d.file.Close()
	}
	return guarded(d.DB.Close)
}
