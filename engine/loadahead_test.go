package engine

import (
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"gorelay/store"
)

// What is read stays up to date with the clock when the far wheel is emptied
// by cancelling alone: what was read before goes out.
func TestCancelledBacklogHoldsNothingBack(t *testing.T) {
	vault, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer vault.Close()
	s := listen(t, scripted{}, func(o *Options) { o.Vault = vault })
	d := s.delayed
	wait := func(due uint64) uint64 {
		m := Delayed{Key: s.NewKey(), Due: s.began.Add(time.Duration(due) * time.Millisecond), Tokens: []string{"a"}, Frame: textFrame("x"), Stamp: -1}
		bodies := make([]packed, 1)
		if err := d.store([]Delayed{m}, bodies, nil); err != nil {
			t.Fatal(err)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if due <= d.loaded {
			t.Fatalf("%d is near", due)
		}
		d.insertFar(due, m.Key, tagLeast)
		return m.Key
	}
	var keys []uint64
	for i := range uint64(4 * loadBatch) {
		keys = append(keys, wait(2000+i))
	}
	s.began = s.began.Add(-time.Minute) // all of them are late
	for d.near.Len() < loadBatch {
		d.load()
	}
	// It is due before what is still far, and goes behind it there.
	late := wait(d.loaded + 1)
	for d.near.Len() < 2*loadBatch {
		d.load()
	}
	read := d.near.Len()
	for _, key := range append(keys, late) {
		if h, ok := d.where.get(key); ok && !h.isNear() {
			d.take(key)
		}
	}
	if d.far.Len() != 0 || read == 0 || read != d.near.Len() {
		t.Fatalf("%d far, %d near, %d read", d.far.Len(), d.near.Len(), read)
	}
	f := firing{delayed: d}
	for range 2 {
		d.load()
		f.fire()
	}
	if n := d.near.Len(); n != 0 {
		t.Errorf("%d of %d messages are held back", n, read)
	}
}

// slowVault makes room for others while it reads.
type slowVault struct{ Vault }

func (v slowVault) Load(keys []uint64, visit func(uint64, []byte, error)) error {
	return v.Vault.Load(keys, func(key uint64, body []byte, err error) {
		runtime.Gosched()
		visit(key, body, err)
	})
}

// Messages are listed and taken back while they are being read.
func TestWhatIsBeingReadIsListedAndTakenBack(t *testing.T) {
	const count = 2000
	d := serveDurable(t, func(o *Options) {
		o.Vault = slowVault{o.Vault}
	})
	var batch []Delayed
	for i := range count {
		batch = append(batch, Delayed{Key: d.NewKey(), Due: time.Now().Add(1500*time.Millisecond + time.Duration(i)*time.Microsecond), Frame: textFrame("x"), Stamp: -1})
	}
	if err := d.Schedule(batch, nil); err != nil {
		t.Fatal(err)
	}
	var listing sync.WaitGroup
	listing.Go(func() {
		for d.Stats().Delayed > 0 {
			if _, _, err := d.ListWaiting("", Place{}, 10); err != nil {
				t.Error(err)
			}
			d.delayed.mu.Lock()
			var key uint64
			if n := len(d.delayed.loading); n > 0 {
				key = d.delayed.loading[n-1].key
			}
			d.delayed.mu.Unlock()
			if err := d.Cancel(key); err != nil && !errors.Is(err, ErrNotWaiting) {
				t.Error(err)
			}
		}
	})
	listing.Wait()
}
