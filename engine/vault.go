package engine

import "errors"

// Vault keeps delayed messages on disk, named by their keys. A *store.Store is
// one. Its methods are safe for concurrent use.
type Vault interface {
	// LastKey is the largest key that was ever added.
	LastKey() uint64

	// Each calls visit for every message, in the order of keys, before
	// anything else is called. body is valid during the call.
	Each(visit func(key uint64, body []byte) error) error

	// Add puts messages and a receipt (nil for none) on stable storage, all or
	// nothing, and returns when they are safe there.
	Add(keys []uint64, bodies [][]byte, receipt []byte) error

	// Load calls visit for each of keys that is there, in their order. body is
	// valid during the call; it is nil where err says that it is damaged. If
	// Load itself returns an error, those that were not visited may be there,
	// and may be readable later.
	Load(keys []uint64, visit func(key uint64, body []byte, err error)) error

	// Remove takes messages out that were sent. It does not wait for the disk.
	Remove(keys []uint64)

	// Cancel takes a message out and returns when that is safe on disk.
	Cancel(key uint64) error

	// Cancelled reports whether Cancel took key out, for as long as that is
	// remembered. An error says that it cannot be told now.
	Cancelled(key uint64) (bool, error)
}

// ErrUnstored wraps the error of a Vault that could not make a call safe on
// disk. The call had no effect.
var ErrUnstored = errors.New("engine: cannot store delayed messages")
