package engine

import (
	"fmt"
	"hash/maphash"
	"runtime"
	"testing"
)

func BenchmarkTextFrame(b *testing.B) {
	buf := make([]byte, FrameHeadroom+128)
	b.ReportAllocs()
	for b.Loop() {
		TextFrame(buf)
	}
}

// withoutSockets is an engine that nobody listens with.
func withoutSockets(shards int) *Engine {
	o := DefaultOptions()
	o.MaxPendingBytes = 1 << 60
	e := &Engine{opts: o, seed: maphash.MakeSeed()}
	e.log.init()
	for range shards {
		e.shards = append(e.shards, newShard(e))
	}
	e.loops = []*loop{{eng: e, wakeFD: -1}}
	return e
}

// enterFull adds a connection whose socket is full, so that nothing is written.
func (e *Engine) enterFull(i int, token string) *Conn {
	c := &Conn{loop: e.loops[0], fd: int32(i), state: stateOpen, blocked: true, cursor: e.log.tail.Load()}
	c.mu.Lock()
	e.assign(c, token)
	c.mu.Unlock()
	e.open.Add(1)
	return c
}

// BenchmarkSendToQueue is a push from its token to the queue of the connection.
func BenchmarkSendToQueue(b *testing.B) {
	e := withoutSockets(8)
	w := &writer{eng: e}
	const conns = 10_000
	var tokens []string
	var all []*Conn
	for i := range conns {
		tokens = append(tokens, fmt.Sprintf("USER_%06d", i))
		all = append(all, e.enterFull(i, tokens[i]))
	}
	f := textFrame("a message of the usual kind, of one hundred bytes or so, which the queue does not look at in any way.")
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if n, err := e.Send(tokens[i], f); n != 1 || err != nil {
			b.Fatal(n, err)
		}
		if i++; i == conns {
			for _, c := range all {
				w.advance(c, f.Len())
			}
			i = 0
		}
	}
}

// BenchmarkIdleConnection measures the heap of idle identified connections: the
// connection, its token, its slots in the shard, and its entry in the map of
// callbacks that the epoll keeps. Run it with -benchtime 1x.
func BenchmarkIdleConnection(b *testing.B) {
	const conns = 1_000_000
	for b.Loop() {
		before := liveHeap()
		e := withoutSockets(8)
		callbacks := make(map[int]func(readiness))
		for i := range conns {
			c := e.enterFull(i, fmt.Sprintf("USER_%d", 100_000+i))
			callbacks[i] = c.ready
		}
		b.ReportMetric(float64(liveHeap()-before)/conns, "B/conn")
		runtime.KeepAlive(e)
		runtime.KeepAlive(callbacks)
	}
}

// liveHeap is the heap in use after a collection, in bytes.
func liveHeap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkBroadcastWalk is what a broadcast costs a connection besides the
// write: one round of a worker over its shard.
func BenchmarkBroadcastWalk(b *testing.B) {
	const conns = 100_000
	e := withoutSockets(1)
	for i := range conns {
		e.enterFull(i, fmt.Sprintf("USER_%06d", i))
	}
	s, w := e.shards[0], &writer{eng: e}
	for b.Loop() {
		for s.startSweep(); !s.sweepOn(w); {
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/conns, "ns/conn")
}
