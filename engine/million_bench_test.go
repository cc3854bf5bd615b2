package engine

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkMillion is one process with a million registered connections, a
// token each, and no sockets, and says what the engine's own part of them
// costs. An operation is:
//
//	enter       a connection takes its place in its shard
//	find        a token, at random, becomes its connection
//	move        a connection, at random, identifies under another token
//	walk        a sweep passes a connection that has nothing to write
//
//	go test ./engine -run '^$' -bench Million -benchtime 1000000x
//
// What a registered connection holds in memory is IdleConnection's to say, and
// what the wheel holds and costs at ten million TimerWheel's.
func BenchmarkMillion(b *testing.B) {
	const conns = 1_000_000
	tokens := make([]string, conns)
	for i := range tokens {
		tokens[i] = fmt.Sprintf("USER_%07d", i)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	fill := func() (*Engine, []*Conn) {
		e := withoutSockets(8)
		all := make([]*Conn, conns)
		for i, token := range tokens {
			all[i] = e.enterFull(i, token)
		}
		return e, all
	}
	b.Run("enter", func(b *testing.B) {
		for done := 0; done < b.N; done += conns {
			e := withoutSockets(8)
			for i := range min(conns, b.N-done) {
				e.enterFull(i, tokens[i])
			}
		}
	})
	e, all := fill()
	order := rng.Perm(conns)
	b.Run("find", func(b *testing.B) {
		var few [8]*Conn
		for i := range b.N {
			if len(e.matching(few[:0], tokens[order[i%conns]])) != 1 {
				b.Fatal("not found")
			}
		}
	})
	b.Run("move", func(b *testing.B) {
		for i := range b.N {
			n := order[i%conns]
			all[n].Identify(tokens[n][:5] + "_" + tokens[n][5:])
			all[n].Identify(tokens[n])
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*b.N), "ns/move")
	})
	b.Run("walk", func(b *testing.B) {
		w := &writer{eng: e}
		for passed := 0; passed < b.N; passed += conns {
			for _, s := range e.shards {
				for s.startSweep(); !s.sweepOn(w); {
				}
			}
		}
	})
}
