package engine

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// onNetwork lets somebody wait for the network who calls f when woken. When it
// returns, what they wait for is there.
func onNetwork(t *testing.T, f func()) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends with w
		defer close(done)
		var b [1]byte
		if _, err := io.ReadFull(r, b[:]); err == nil {
			f()
		}
	}()
	t.Cleanup(func() {
		_ = w.Close()
		<-done
		_ = r.Close()
	})
	runtime.Gosched() // it waits now
	if _, err := w.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
}

// Somebody who waits for the network is woken by the yields of a worker that
// never rests, even where there is one processor for both.
func TestYieldLetsTheNetworkIn(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	mine := newTurn(slog.New(slog.DiscardHandler))
	defer mine.close()
	var got atomic.Bool
	onNetwork(t, func() { got.Store(true) })
	// The first may wake the worker ahead of the other, and one may find its
	// event taken already. It is not a matter of time: a hundred Gosched are
	// over in microseconds, and nobody has looked at the network.
	for i := 0; i < 10 && !got.Load(); i++ {
		mine.yield()
	}
	if !got.Load() {
		t.Error("10 yields, and what was written is not read yet")
	}
}

// Whoever the network lets go on comes before the one that yields to all, and so do
// those who are let go on by them and give way once themselves.
func TestYieldToAllComesLast(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	mine := newTurn(slog.New(slog.DiscardHandler))
	defer mine.close()
	const rounds = 100
	last := 0
	for range rounds {
		var done atomic.Bool
		next := make(chan struct{}, 1)
		go func() { // ends after what is written below is read
			<-next
			runtime.Gosched()
			done.Store(true)
		}()
		onNetwork(t, func() { next <- struct{}{} })
		mine.yieldToAll()
		if done.Load() {
			last++
		}
	}
	// The scheduler takes one out of turn at times, every 61st for one. Without
	// one of its steps it is last in less than a tenth.
	if last < rounds*3/4 {
		t.Errorf("last in %d rounds of %d", last, rounds)
	}
}

// Somebody who waits for the network is woken in the middle of a worker's long
// list, and sees that the worker is at one.
func TestLongListLetsTheNetworkIn(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	e := withoutSockets(1)
	e.began = time.Now().Add(-time.Minute)
	s := e.shards[0]
	var list []*Conn
	for i := range 10*s.slice + 1 {
		list = append(list, e.enterFull(i, ""))
	}
	mine := newTurn(slog.New(slog.DiscardHandler))
	defer mine.close()
	var since atomic.Int64
	onNetwork(t, func() { since.Store(s.since.Load()) })
	s.flush(&writer{eng: e}, mine, list)
	if since.Load() < time.Minute.Milliseconds() {
		t.Errorf("the network was looked at when the list was from %d ms", since.Load())
	}
	if lag := e.lag(uint64(e.now())); lag != 0 {
		t.Errorf("%d ms behind with the list done", lag)
	}
}

// With a descriptor to wait for and without one, a sweep comes to its end.
func TestSweepWithAndWithoutDescriptor(t *testing.T) {
	for name, mine := range map[string]*turn{"with": newTurn(slog.New(slog.DiscardHandler)), "without": {}} {
		e := withoutSockets(1)
		s := e.shards[0]
		for i := range 500 {
			e.enterFull(i, "")
		}
		if _, err := e.Broadcast(textFrame("to all")); err != nil {
			t.Fatal(err)
		}
		s.stop()
		go s.run(mine) // ends when it has swept
		<-s.done
		if got, want := s.swept.Load(), e.log.tail.Load().end; got != want {
			t.Errorf("%s: swept up to byte %d of %d", name, got, want)
		}
	}
}

// The workers of a core share one slice's worth, however many they are.
func TestSliceOfASweep(t *testing.T) {
	for _, tt := range []struct{ loops, shards, want int }{
		{1, 1, 64}, {1, 4, 16}, {2, 8, 16}, {16, 64, 16}, {4, 2, 64}, {1, 64, 8}, {1, 1 << 20, 8},
	} {
		s := newShard(&Engine{opts: Options{Loops: tt.loops, Shards: tt.shards}})
		if s.slice != tt.want {
			t.Errorf("%d loops, %d shards: slices of %d, not %d", tt.loops, tt.shards, s.slice, tt.want)
		}
	}
}

// A loop that has something to do while as many workers sweep as there are
// processors stays awake until one of them is free, and no longer.
func TestLoopStaysAwakeWhileABroadcastRuns(t *testing.T) {
	for _, procs := range []int{1, 2} {
		t.Run(fmt.Sprint(procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			s := serve(t, identifying(), func(o *Options) { o.Loops = 1 })
			l := s.loops[0]
			awake := func() (is bool) {
				onLoop(l, func() { is = l.awake })
				return is
			}
			for sweeping := range procs {
				if s.dial("a"); awake() {
					t.Errorf("awake with %d workers that sweep", sweeping)
				}
				s.sweeps.Add(1)
			}
			s.dial("b")
			if !awake() {
				t.Error("it sleeps with as many workers that sweep")
			}
			s.sweeps.Add(-1)
			await(t, "it sleeps again", func() bool { return !awake() })
			s.sweeps.Store(0)
		})
	}
}
