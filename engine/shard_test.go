package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// A round over a shard reaches every connection that was in it when the round
// began and has not left, whoever comes and goes before each of its slices.
func TestRoundMissesNobodyWhoStays(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for round := range 100 {
		e := withoutSockets(1)
		s, w := e.shards[0], &writer{eng: e}
		var live []*Conn
		visited := make(map[*Conn]bool)
		enter := func() *Conn {
			// Its socket is full, so a visit shows only in the sweep itself.
			c := e.enterFull(len(live), fmt.Sprintf("t%d", rng.IntN(50)))
			live = append(live, c)
			return c
		}
		for range rng.IntN(500) {
			enter()
		}
		s.startSweep()
		staying := slices.Clone(live)
		for over := false; !over; {
			for range rng.IntN(20) {
				if rng.IntN(2) == 0 && len(live) > 0 {
					i := rng.IntN(len(live))
					c := live[i]
					s.remove(c)
					live = slices.Delete(live, i, i+1)
					if j := slices.Index(staying, c); j >= 0 {
						staying = slices.Delete(staying, j, j+1)
					}
				} else {
					enter()
				}
			}
			for i, c := range s.conns {
				if int(c.here-1) != i {
					t.Fatalf("connection %d says it is at %d", i, c.here-1)
				}
			}
			for _, c := range s.conns[max(0, s.sweep-s.slice):s.sweep] {
				visited[c] = true
			}
			over = s.sweepOn(w)
		}
		for _, c := range staying {
			if !visited[c] {
				t.Fatalf("round %d: one of %d was missed", round, len(staying))
			}
		}
	}
}

// A shard that was once large gives the memory back.
func TestShardShrinks(t *testing.T) {
	e := withoutSockets(1)
	s := e.shards[0]
	var all []*Conn
	for i := range 10_000 {
		all = append(all, e.enterFull(i, fmt.Sprint(i)))
	}
	for _, c := range all[10:] {
		s.remove(c)
	}
	if cap(s.conns) > 2048 || len(s.slots) > 128 {
		t.Errorf("room for %d connections and %d tokens with 10 left", cap(s.conns), len(s.slots))
	}
	for _, c := range all[:10] {
		if got := s.matching(nil, c.hash, c.token); len(got) != 1 || got[0] != c {
			t.Errorf("%q is lost", c.token)
		}
	}
}
