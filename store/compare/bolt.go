package main

import (
	"encoding/binary"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

type bolt struct{ db *bbolt.DB }

var bucket = []byte("m")

func openBolt(dir string, freelist bool) (candidate, error) {
	db, err := bbolt.Open(filepath.Join(dir, "bolt"), 0o600, &bbolt.Options{
		Timeout:        time.Millisecond,
		NoFreelistSync: !freelist,
		FreelistType:   bbolt.FreelistMapType,
	})
	if err != nil {
		return nil, err
	}
	return &bolt{db}, db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
}

func (s *bolt) commit(c *change) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucket)
		b.FillPercent = 1
		for i, k := range c.keys {
			if err := b.Put(encode(k), c.bodies[i]); err != nil {
				return err
			}
		}
		for _, k := range c.gone {
			if err := b.Delete(encode(k)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *bolt) load(key uint64) (n int, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		n = len(tx.Bucket(bucket).Get(encode(key)))
		return nil
	})
	return n, err
}

func (s *bolt) each(visit func(uint64, []byte)) error {
	return s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucket).ForEach(func(k, v []byte) error {
			visit(binary.BigEndian.Uint64(k), v)
			return nil
		})
	})
}

func (s *bolt) close() error { return s.db.Close() }
