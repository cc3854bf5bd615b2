package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestLikeAMap does at random what the engine does, beside a map, and opens
// the store again now and then.
func TestLikeAMap(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1))
			dir := memoryDir(t)
			s := openIn(t, dir, Options{Cancelled: 40, CompactAbove: 1})
			want := map[uint64]string{}
			var taken []uint64
			last, secret := s.LastKey(), s.Secret()
			some := func() uint64 { // a key that is there, mostly
				if keys := slices.Sorted(maps.Keys(want)); len(keys) > 0 && random.IntN(10) > 0 {
					return keys[random.IntN(len(keys))]
				}
				return last - random.Uint64N(1000)
			}
			for step := range 300 {
				switch random.IntN(8) {
				case 0, 1, 2: // a few at once, in any order, rarely a large one
					var keys []uint64
					var bodies [][]byte
					for range 1 + random.IntN(4) {
						last += 1 + random.Uint64N(3)
						size := random.IntN(700)
						if random.IntN(15) == 0 {
							size = random.IntN(40_000)
						}
						keys = append(keys, last)
						bodies = append(bodies, bytes.Repeat([]byte{byte(step)}, size))
					}
					random.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
					if err := s.Add(keys, bodies, nil); err != nil {
						t.Fatal(err)
					}
					for i, k := range keys {
						want[k] = string(bodies[i])
					}
				case 3: // the same key once more
					key := some()
					mustAdd(t, s, key, "again")
					want[key] = "again"
				case 4, 5:
					gone := []uint64{some(), some()}
					s.Remove(gone)
					for _, k := range gone {
						delete(want, k)
					}
					waitFor(t, func() bool { return s.Stats().Removals == 0 })
					// The commit may still be under way: another call waits for it.
					mustAdd(t, s, last, "barrier")
					want[last] = "barrier"
				case 6:
					key := some()
					if err := s.Cancel(key); err != nil {
						t.Fatal(err)
					}
					delete(want, key)
					if !slices.Contains(taken, key) {
						taken = append(taken, key)
						slices.Sort(taken)
						taken = taken[max(0, len(taken)-40):]
					}
				case 7:
					if random.IntN(4) == 0 {
						if err := s.Close(); err != nil {
							t.Fatal(err)
						}
						s = openIn(t, dir, Options{Cancelled: 40, CompactAbove: 1})
					}
				}
			}
			check := func() {
				t.Helper()
				wantContents(t, s, want)
				if s.LastKey() != last || !bytes.Equal(s.Secret(), secret) {
					t.Errorf("last key %d instead of %d, or another secret", s.LastKey(), last)
				}
				for k := last; k > last-2000; k-- {
					if was := cancelled(t, s, k); was != slices.Contains(taken, k) {
						t.Fatalf("Cancelled(%d) is %v, remembered are %v", k, was, taken)
					}
				}
			}
			check()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openIn(t, dir, Options{Cancelled: 40, CompactAbove: 1})
			check()
		})
	}
}

func TestLoadPassesWhatIsThereInTheOrderAsked(t *testing.T) {
	s := openIn(t, memoryDir(t), Options{})
	var keys, asked, want []uint64
	for i := range 2*readKeys + 10 {
		k := s.LastKey() + 1
		mustAdd(t, s, k, fmt.Sprint("body ", i))
		keys = append(keys, k)
	}
	for i := range slices.Backward(keys) {
		asked = append(asked, keys[i])
		want = append(want, keys[i])
		if i%7 == 0 {
			asked = append(asked, keys[0]-1, keys[len(keys)-1]+1) // never added
		}
	}
	var got []uint64
	err := s.Load(asked, func(key uint64, body []byte, err error) {
		got = append(got, key)
		if i := slices.Index(keys, key); err != nil || string(body) != fmt.Sprint("body ", i) {
			t.Errorf("key %d has body %q, error %v", key, body, err)
		}
		// A visitor may use the store.
		if cancelled(t, s, key) {
			t.Error("nothing was cancelled")
		}
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("visited %v instead of %v, error %v", got, want, err)
	}
}

// TestEachEndsWithItsVisitor also writes during the walk: it must not wait for
// the reader.
func TestEachEndsWithItsVisitor(t *testing.T) {
	s := openIn(t, memoryDir(t), Options{})
	fill(t, s, 3*readKeys, make([]byte, 100))
	enough := errors.New("enough")
	n := 0
	err := s.Each(func(uint64, []byte) error {
		if n++; n == readKeys+1 {
			return enough
		}
		if n == 5 {
			fill(t, s, 20_000, make([]byte, 300)) // the file outgrows its map
		}
		return nil
	})
	if err != enough || n != readKeys+1 {
		t.Errorf("%d visits, error %v", n, err)
	}
}

func receipt(expires time.Time, text string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(expires.UnixMilli())), text...)
}

func TestReceiptsExpireFromTheFront(t *testing.T) {
	dir := memoryDir(t)
	s := openIn(t, dir, Options{})
	soon, later, past := now().Add(time.Hour), now().Add(2*time.Hour), now().Add(-time.Hour)
	for _, r := range [][]byte{receipt(later, "c"), receipt(past, "x"), receipt(soon, "a"), receipt(soon, "b"), receipt(past, "y")} {
		if err := s.Add([]uint64{s.LastKey() + 1}, [][]byte{nil}, r); err != nil {
			t.Fatal(err)
		}
	}
	texts := func() (all string) {
		if err := s.Receipts(func(r []byte) error { all += string(r[8:]); return nil }); err != nil {
			t.Fatal(err)
		}
		return all
	}
	if got := texts(); got != "abc" {
		t.Errorf("the receipts are %q", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openIn(t, dir, Options{})
	if got := texts(); got != "abc" {
		t.Errorf("after opening again the receipts are %q", got)
	}
	inFile := 0
	s.eachIn(receiptBucket, "", func(uint64, []byte) error { inFile++; return nil })
	if inFile != 3 {
		t.Errorf("the file has %d receipts: expired ones stay", inFile)
	}
}

func TestReceiptAloneAndBadCalls(t *testing.T) {
	s := openIn(t, memoryDir(t), Options{})
	for _, c := range []struct {
		name    string
		keys    []uint64
		bodies  [][]byte
		receipt []byte
		fails   bool
	}{
		{"only a receipt", nil, nil, receipt(now().Add(time.Hour), ""), false},
		{"a receipt without an expiry", nil, nil, []byte("1234567"), true},
		{"fewer bodies than keys", []uint64{1, 2}, [][]byte{nil}, nil, true},
		{"nothing", nil, nil, nil, false},
	} {
		if err := s.Add(c.keys, c.bodies, c.receipt); (err != nil) != c.fails {
			t.Errorf("%s: error %v", c.name, err)
		}
	}
}

func TestClosedStoreRefuses(t *testing.T) {
	dir := memoryDir(t)
	s := openIn(t, dir, Options{})
	last := s.LastKey()
	mustAdd(t, s, last+1, "stays")
	mustAdd(t, s, last+2, "goes")
	s.Remove([]uint64{last + 2})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Add([]uint64{1}, [][]byte{nil}, nil); err != ErrClosed {
		t.Errorf("Add after Close: %v", err)
	}
	if err := s.Cancel(1); err != ErrClosed {
		t.Errorf("Cancel after Close: %v", err)
	}
	s.Remove([]uint64{last + 1}) // comes too late
	if err := s.Load([]uint64{last + 1}, func(uint64, []byte, error) {}); err != ErrClosed {
		t.Errorf("Load after Close: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
	s = openIn(t, dir, Options{})
	wantContents(t, s, map[uint64]string{last + 1: "stays"})
}

func TestFreshStoresDiffer(t *testing.T) {
	a, b := openIn(t, t.TempDir(), Options{}), openIn(t, t.TempDir(), Options{})
	if a.LastKey() == b.LastKey() || bytes.Equal(a.Secret(), b.Secret()) || len(a.Secret()) != secretBytes {
		t.Error("two stores have the same key to begin with, or secret")
	}
	if a.LastKey()>>freshBits != 0 {
		t.Errorf("a fresh store begins with %d: more than %d bits", a.LastKey(), freshBits)
	}
}
