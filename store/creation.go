package store

import (
	"errors"
	"time"

	"go.etcd.io/bbolt"
)

// compactBytes is the size of a transaction of a compaction.
const compactBytes = 1 << 20

// create makes a file with its buckets beside its later name, then renames
// it: a file that is there is whole.
func create(f *folder) error {
	db, err := bbolt.Open(f.newFile(), fileMode, &bbolt.Options{Timeout: time.Millisecond})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{metaBucket, messageBucket, receiptBucket, cancelBucket} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		st, secret := fresh()
		meta := tx.Bucket(metaBucket)
		return errors.Join(
			meta.Put(versionKey, seal(versionKey, number(fileVersion))),
			meta.Put(secretKey, seal(secretKey, secret)),
			meta.Put(stateKey, seal(stateKey, st.encode())))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	return f.adopt()
}

// compacted copies what the file holds into a new one and puts that in its
// place. If it cannot, the old one serves on.
func compacted(f *folder, old *database, o Options) (*database, error) {
	before := old.size()
	err := guarded(func() error {
		dst, err := bbolt.Open(f.newFile(), fileMode, &bbolt.Options{
			Timeout:        time.Millisecond,
			NoSync:         true, // the whole is synced below, before it counts
			NoFreelistSync: true,
			FreelistType:   bbolt.FreelistMapType,
		})
		if err != nil {
			return err
		}
		err = bbolt.Compact(dst, old.DB, compactBytes)
		if err == nil {
			err = dst.Sync()
		}
		return errors.Join(err, dst.Close())
	})
	if err == nil {
		err = f.adopt()
	}
	if err != nil {
		f.dropNew()
		o.Logger.Warn("the file of delayed pushes stays as large as it is", "bytes", before, "error", err)
		return old, nil
	}
	old.close()
	db, _, err := open(f.file())
	if err != nil {
		return nil, damage(f, err)
	}
	o.Logger.Info("the file of delayed pushes was compacted", "bytes_before", before, "bytes", db.size())
	return db, nil
}
