package store

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

const (
	publishers = 64
	benchBody  = 300 // bytes, a usual message
	million    = 1_000_000
)

// BenchmarkAdd64 is 64 publishers who each add one message after the other and
// wait until it is safe. "alone": nothing else happens. "removing": for each
// that comes, one goes; "front" in the order of keys, "random" out of 200,000
// that wait.
func BenchmarkAdd64(b *testing.B) {
	for _, kind := range []string{"alone", "front", "random", "emptied"} {
		b.Run(kind, func(b *testing.B) {
			s := openIn(b, b.TempDir(), Options{})
			const waiting = 200_000
			body := make([]byte, benchBody)
			keys := fill(b, s, waiting, body)
			switch kind {
			case "random":
				rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
			case "emptied":
				for part := range slices.Chunk(keys, removeMost) {
					s.Remove(part)
					waitFor(b, func() bool { return s.Stats().Removals == 0 })
				}
			}
			var last, taken atomic.Uint64
			last.Store(s.LastKey())
			commits := s.Stats().Commits
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for p := range publishers {
				n := b.N / publishers
				if p < b.N%publishers {
					n++
				}
				wg.Go(func() {
					for range n {
						if err := s.Add([]uint64{last.Add(1)}, [][]byte{body}, nil); err != nil {
							b.Error(err)
							return
						}
						if i := int(taken.Add(1)) - 1; i < len(keys) && (kind == "front" || kind == "random") {
							s.Remove(keys[i : i+1])
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "adds/s")
			b.ReportMetric(float64(b.N)/float64(s.Stats().Commits-commits), "adds/commit")
		})
	}
}

// BenchmarkLoad loads 100 keys at a time out of 200,000.
func BenchmarkLoad(b *testing.B) {
	s := openIn(b, b.TempDir(), Options{})
	keys := fill(b, s, 200_000, make([]byte, benchBody))
	rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		at := i * 100 % len(keys)
		if err := s.Load(keys[at:at+100], func(uint64, []byte, error) {}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/key")
}

// BenchmarkEach1M opens a store of a million messages and reads them all.
func BenchmarkEach1M(b *testing.B) {
	dir := b.TempDir()
	s := openIn(b, dir, Options{})
	fill(b, s, million, make([]byte, benchBody))
	s.Close()
	for b.Loop() {
		s := openIn(b, dir, Options{})
		n := 0
		if err := s.Each(func(uint64, []byte) error { n++; return nil }); err != nil || n != million {
			b.Fatal(n, err)
		}
		s.Close()
	}
}

// fill adds n messages and returns their keys.
func fill(tb testing.TB, s *Store, n int, body []byte) []uint64 {
	tb.Helper()
	keys := make([]uint64, n)
	for i := range keys {
		keys[i] = s.LastKey() + uint64(i) + 1
	}
	for part := range slices.Chunk(keys, 5000) {
		bodies := make([][]byte, len(part))
		for i := range bodies {
			bodies[i] = body
		}
		if err := s.Add(part, bodies, nil); err != nil {
			tb.Fatal(err)
		}
	}
	return keys
}
