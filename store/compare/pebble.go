package main

import (
	"encoding/binary"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
)

type stones struct{ db *pebble.DB }

type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(f string, _ ...any) {
	panic(f)
}

func openPebble(dir string) (candidate, error) {
	db, err := pebble.Open(filepath.Join(dir, "pebble"), &pebble.Options{Logger: silent{}})
	return &stones{db}, err
}

func (s *stones) commit(c *change) error {
	b := s.db.NewBatch()
	defer b.Close()
	for i, k := range c.keys {
		if err := b.Set(encode(k), c.bodies[i], nil); err != nil {
			return err
		}
	}
	for _, k := range c.gone {
		if err := b.Delete(encode(k), nil); err != nil {
			return err
		}
	}
	return b.Commit(pebble.Sync)
}

func (s *stones) load(key uint64) (int, error) {
	v, done, err := s.db.Get(encode(key))
	if err != nil {
		return 0, err
	}
	return len(v), done.Close()
}

func (s *stones) each(visit func(uint64, []byte)) error {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		visit(binary.BigEndian.Uint64(it.Key()), it.Value())
	}
	return it.Close()
}

func (s *stones) close() error { return s.db.Close() }
