package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// rosterModel is a roster and the obvious map that it must agree with.
type rosterModel struct {
	table roster
	want  map[string][]*Conn
	hash  func(token string) uint32
}

func newRosterModel(hash func(string) uint32) *rosterModel {
	return &rosterModel{want: make(map[string][]*Conn), hash: hash}
}

func (m *rosterModel) add(token string) *Conn {
	c := &Conn{token: token}
	if token == "" { // in the array alone
		m.table.insert(c)
		return c
	}
	c.hash = m.hash(token)
	m.table.insert(c)
	m.want[token] = append(m.want[token], c)
	return c
}

func (m *rosterModel) remove(c *Conn) {
	m.table.remove(c)
	if c.token == "" {
		return
	}
	left := m.want[c.token]
	left = slices.Delete(left, slices.Index(left, c), slices.Index(left, c)+1)
	if m.want[c.token] = left; len(left) == 0 {
		delete(m.want, c.token)
	}
}

// check compares what the table finds with the map, and walks its invariants.
func (m *rosterModel) check(t *testing.T) {
	t.Helper()
	for token, conns := range m.want {
		var found []*Conn
		before := place(0)
		for c := m.table.find(m.hash(token), token); c != nil; c = m.table.following(c) {
			if c.prev != before {
				t.Fatalf("%q: prev does not lead back", token)
			}
			before = c.here
			if found = append(found, c); len(found) > len(conns) {
				t.Fatalf("%q: more connections than %d", token, len(conns))
			}
		}
		for _, c := range conns {
			if !slices.Contains(found, c) {
				t.Fatalf("%q: found %d connections, want %d", token, len(found), len(conns))
			}
		}
	}
	used := 0
	mask := uint32(len(m.table.slots) - 1)
	for i, c := range m.table.conns {
		if c.here != place(i+1) {
			t.Fatalf("connection %d believes to be at place %d", i, c.here)
		}
	}
	for i, p := range m.table.slots {
		if mark := m.table.marks[i]; (p == 0) != (mark == 0) || p != 0 && mark != markOf(m.table.at(p).hash) {
			t.Fatalf("slot %d has place %d and mark %#x", i, p, mark)
		}
		if p == 0 {
			continue
		}
		used++
		for j := m.table.at(p).hash & mask; j != uint32(i); j = (j + 1) & mask {
			if m.table.slots[j] == 0 {
				t.Fatalf("slot %d: a gap at %d cuts it off from its home", i, j)
			}
		}
	}
	if used != len(m.want) || m.table.used != used {
		t.Fatalf("%d slots in use, %d counted, %d tokens", used, m.table.used, len(m.want))
	}
	if n := len(m.table.slots); n > 0 && (n&(n-1) != 0 || used*4 > n*3 || n > minSlots && used*8 < n) {
		t.Fatalf("%d slots for %d tokens", n, used)
	}
}

// tokenHashes are hash functions from good to hopeless.
var tokenHashes = map[string]func(string) uint32{
	"spread": func(s string) (h uint32) {
		for i := range len(s) {
			h = (h ^ uint32(s[i])) * 16777619
		}
		return h
	},
	"all the same":      func(string) uint32 { return 7 },
	"at the wrap":       func(s string) uint32 { return ^uint32(0) - uint32(len(s)&1) },
	"few homes":         func(s string) uint32 { return uint32(s[len(s)-1]) & 3 },
	"runs of neighbors": func(s string) uint32 { return uint32(s[len(s)-1]) },
}

func TestRosterAgainstMap(t *testing.T) {
	for name, hash := range tokenHashes {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(3, uint64(len(name))))
			m := newRosterModel(hash)
			var live []*Conn
			for step := range 4000 {
				// Up and down in turn, so that the table grows and shrinks.
				if up := step/500%2 == 0; rng.IntN(10) < 3 != up || len(live) == 0 {
					token := ""
					if rng.IntN(10) > 0 {
						token = fmt.Sprintf("t%d", rng.IntN(200))
					}
					live = append(live, m.add(token))
				} else {
					i := rng.IntN(len(live))
					m.remove(live[i])
					live = slices.Delete(live, i, i+1)
				}
				if step%7 == 0 {
					m.check(t)
				}
			}
			for _, c := range live {
				m.remove(c)
				m.check(t)
			}
			if n := len(m.table.conns); n != 0 {
				t.Errorf("an empty roster keeps %d connections", n)
			}
			if n := len(m.table.slots); n != minSlots {
				t.Errorf("an empty table keeps %d slots", n)
			}
			if m.table.find(hash("t1"), "t1") != nil {
				t.Error("an empty table finds a connection")
			}
		})
	}
}

func TestRosterSharesOneCopyOfAToken(t *testing.T) {
	var table roster
	first := &Conn{token: fmt.Sprint("USER", 1), hash: 1}
	second := &Conn{token: fmt.Sprint("USER", 1), hash: 1}
	table.insert(first)
	table.insert(second)
	if a, b := dataOf(first.token), dataOf(second.token); a != b {
		t.Error("two copies of one token are kept")
	}
}
