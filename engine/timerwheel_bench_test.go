package engine

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
)

// The wheel under a realistic load: a given number of entries wait, their
// delays spread at random over an hour, and each holds a string.
//
//	go test -run '^$' -bench TimerWheel -benchtime 2000000x ./engine

const (
	wheelBenchHour  = 3_600_000 // ticks
	wheelBenchEpoch = 1_733_890_000_000
	wheelBenchBatch = 1 << 16 // operations between two stops of the clock
	wheelBenchMoves = 1024    // budget of an Advance, about what a lock is held for
)

var wheelBenchPending = []int{1_000_000, 10_000_000}

func BenchmarkTimerWheelInsert(b *testing.B) {
	benchWheel(b, func(b *testing.B, rng *rand.Rand, pending int) {
		w := newTimerWheel[string](wheelBenchEpoch)
		for range pending {
			w.Insert(wheelBenchEpoch+1+rng.Uint64N(wheelBenchHour), "payload")
		}
		deadlines := make([]uint64, wheelBenchBatch)
		handles := make([]timerHandle, wheelBenchBatch)
		runtime.GC()
		b.ResetTimer()
		for done := 0; done < b.N; {
			b.StopTimer()
			batch := min(wheelBenchBatch, b.N-done)
			for i := range batch {
				deadlines[i] = wheelBenchEpoch + 1 + rng.Uint64N(wheelBenchHour)
			}
			b.StartTimer()
			for i := range batch {
				handles[i] = w.Insert(deadlines[i], "payload")
			}
			b.StopTimer()
			for _, h := range handles[:batch] {
				w.Cancel(h)
			}
			done += batch
		}
	})
}

// BenchmarkTimerWheelFill inserts into a wheel that starts empty, as a burst
// does, and reports the bytes an entry takes, with what the near wheel holds and
// with what the far one does.
func BenchmarkTimerWheelFill(b *testing.B) {
	b.Run("near", func(b *testing.B) { benchWheelFill(b, bodyRef{}) })
	b.Run("far", func(b *testing.B) { benchWheelFill(b, farEntry{}) })
}

func benchWheelFill[T any](b *testing.B, v T) {
	benchWheel(b, func(b *testing.B, rng *rand.Rand, pending int) {
		b.ReportAllocs()
		var perEntry float64
		runtime.GC()
		b.ResetTimer()
		for done := 0; done < b.N; {
			b.StopTimer()
			before := liveHeapBytes()
			w := newTimerWheel[T](wheelBenchEpoch)
			batch := min(pending, b.N-done)
			b.StartTimer()
			for range batch {
				w.Insert(wheelBenchEpoch+1+rng.Uint64N(wheelBenchHour), v)
			}
			b.StopTimer()
			for range pending - batch {
				w.Insert(wheelBenchEpoch+1+rng.Uint64N(wheelBenchHour), v)
			}
			perEntry = float64(liveHeapBytes()-before) / float64(pending)
			runtime.KeepAlive(w)
			done += batch
		}
		b.ReportMetric(perEntry, "B/entry")
	})
}

// BenchmarkTimerWheelCancel cancels entries in the order of their inserts, as
// timeouts are that did not come to pass.
func BenchmarkTimerWheelCancel(b *testing.B) {
	benchWheel(b, func(b *testing.B, rng *rand.Rand, pending int) {
		benchWheelCancel(b, rng, pending, func([]timerHandle) {})
	})
}

// BenchmarkTimerWheelCancelAtRandom is the worst order for the caches: a miss
// for the entry, and one in the sweep for each that waits beside those that do
// not any more.
func BenchmarkTimerWheelCancelAtRandom(b *testing.B) {
	benchWheel(b, func(b *testing.B, rng *rand.Rand, pending int) {
		benchWheelCancel(b, rng, pending, func(handles []timerHandle) {
			rng.Shuffle(pending, func(i, j int) { handles[i], handles[j] = handles[j], handles[i] })
		})
	})
}

// BenchmarkTimerWheelFloor is a bare write to entries at random: what the
// machine takes at least when each is touched once, long after its insert.
func BenchmarkTimerWheelFloor(b *testing.B) {
	benchWheel(b, func(b *testing.B, rng *rand.Rand, pending int) {
		s := newTimerSlab[timerEntry[string]]()
		order := make([]uint32, pending)
		for i := range order {
			order[i], _ = s.alloc()
		}
		rng.Shuffle(pending, func(i, j int) { order[i], order[j] = order[j], order[i] })
		b.ResetTimer()
		for n := range b.N {
			s.at(order[n%pending]).state++
		}
	})
}

func benchWheelCancel(b *testing.B, rng *rand.Rand, pending int, order func([]timerHandle)) {
	w := newTimerWheel[string](wheelBenchEpoch)
	handles := make([]timerHandle, pending)
	for i := range handles {
		handles[i] = w.Insert(wheelBenchEpoch+1+rng.Uint64N(wheelBenchHour), "payload")
	}
	order(handles)
	for range 2 { // wear it: the sweep is to be in its stride
		for i, h := range handles {
			w.Cancel(h)
			handles[i] = w.Insert(wheelBenchEpoch+1+rng.Uint64N(wheelBenchHour), "payload")
		}
	}
	runtime.GC()
	b.ResetTimer()
	for done := 0; done < b.N; {
		first := done % pending
		batch := handles[first:min(first+wheelBenchBatch, first+b.N-done, pending)]
		b.StartTimer()
		for _, h := range batch {
			w.Cancel(h)
		}
		b.StopTimer()
		for i := range batch {
			batch[i] = w.Insert(wheelBenchEpoch+1+rng.Uint64N(wheelBenchHour), "payload")
		}
		done += len(batch)
	}
}

// BenchmarkTimerWheelExpire fires entries with all their cascades, as an owner
// does that sleeps until Next. The wheel is filled afresh when it is empty.
func BenchmarkTimerWheelExpire(b *testing.B) {
	benchWheel(b, func(b *testing.B, rng *rand.Rand, pending int) {
		w := newTimerWheel[string](wheelBenchEpoch)
		fired := 0
		fire := func(string) { fired++ }
		runtime.GC()
		b.ResetTimer()
		for now := uint64(wheelBenchEpoch); fired < b.N; {
			if w.Len() == 0 {
				b.StopTimer()
				for range pending {
					w.Insert(now+1+rng.Uint64N(wheelBenchHour), "payload")
				}
				b.StartTimer()
			}
			now, _ = w.Next()
			for w.Advance(now, wheelBenchMoves, fire) {
			}
		}
	})
}

// BenchmarkTimerWheelChurn fires entries and replaces each at once: the number
// that waits is constant, and the memory is as well worn as after hours. An
// operation is an expiry with its cascades and an insert.
func BenchmarkTimerWheelChurn(b *testing.B) {
	benchWheel(b, func(b *testing.B, rng *rand.Rand, pending int) {
		now := uint64(wheelBenchEpoch)
		w := newTimerWheel[string](now)
		for range pending {
			w.Insert(now+1+rng.Uint64N(wheelBenchHour), "payload")
		}
		fired := 0
		fire := func(v string) {
			fired++
			w.Insert(now+1+rng.Uint64N(wheelBenchHour), v)
		}
		run := func(n int) {
			for fired = 0; fired < n; {
				now, _ = w.Next()
				for w.Advance(now, wheelBenchMoves, fire) {
				}
			}
		}
		run(2 * pending) // wear it
		runtime.GC()
		b.ResetTimer()
		run(b.N)
	})
}

func benchWheel(b *testing.B, run func(b *testing.B, rng *rand.Rand, pending int)) {
	for _, pending := range wheelBenchPending {
		b.Run(fmt.Sprintf("pending=%dM", pending/1_000_000), func(b *testing.B) {
			run(b, rand.New(rand.NewPCG(1, 2)), pending)
		})
	}
}

// liveHeapBytes is the number of bytes that live on the heap.
func liveHeapBytes() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
