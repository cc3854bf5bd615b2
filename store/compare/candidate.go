package main

import "encoding/binary"

// change is what one commit has to make safe.
type change struct {
	keys   []uint64
	bodies [][]byte
	gone   []uint64
}

// candidate is a place to keep records. Only the committer calls commit, one
// call at a time; it returns when the change is safe on disk.
type candidate interface {
	commit(c *change) error
	load(key uint64) (size int, err error)
	each(visit func(key uint64, body []byte)) error
	close() error
}

// openers makes each candidate in an empty or used folder.
var openers = []struct {
	name string
	open func(dir string) (candidate, error)
}{
	{"floor", openFloor},
	{"bbolt", func(dir string) (candidate, error) { return openBolt(dir, false) }},
	{"bbolt-freelist", func(dir string) (candidate, error) { return openBolt(dir, true) }},
	{"sqlite", openSQLite},
	{"pebble", openPebble},
}

func encode(key uint64) []byte { return binary.BigEndian.AppendUint64(nil, key) }
