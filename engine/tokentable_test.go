package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// tokenModel is a token table and the obvious map that it must agree with.
type tokenModel struct {
	table tokenTable
	want  map[string][]*Conn
	hash  func(token string) uint32
}

func newTokenModel(hash func(string) uint32) *tokenModel {
	return &tokenModel{want: make(map[string][]*Conn), hash: hash}
}

func (m *tokenModel) add(token string) *Conn {
	c := &Conn{token: token, hash: m.hash(token)}
	m.table.add(c)
	m.want[token] = append(m.want[token], c)
	return c
}

func (m *tokenModel) remove(c *Conn) {
	m.table.remove(c)
	left := m.want[c.token]
	left = slices.Delete(left, slices.Index(left, c), slices.Index(left, c)+1)
	if m.want[c.token] = left; len(left) == 0 {
		delete(m.want, c.token)
	}
}

// check compares what the table finds with the map, and walks its invariants.
func (m *tokenModel) check(t *testing.T) {
	t.Helper()
	for token, conns := range m.want {
		var found []*Conn
		var before *Conn
		for c := m.table.find(m.hash(token), token); c != nil; before, c = c, c.next {
			if c.prev != before {
				t.Fatalf("%q: prev does not lead back", token)
			}
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
	for i, c := range m.table.slots {
		if c == nil {
			continue
		}
		used++
		for j := c.hash & mask; j != uint32(i); j = (j + 1) & mask {
			if m.table.slots[j] == nil {
				t.Fatalf("slot %d: a gap at %d cuts it off from its home", i, j)
			}
		}
	}
	if used != len(m.want) || m.table.used != used {
		t.Fatalf("%d slots in use, %d counted, %d tokens", used, m.table.used, len(m.want))
	}
	if n := len(m.table.slots); n > 0 && (n&(n-1) != 0 || used*4 > n*3 || n > minTokenSlots && used*8 < n) {
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

func TestTokenTableAgainstMap(t *testing.T) {
	for name, hash := range tokenHashes {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(3, uint64(len(name))))
			m := newTokenModel(hash)
			var live []*Conn
			for step := range 4000 {
				// Up and down in turn, so that the table grows and shrinks.
				if up := step/500%2 == 0; rng.IntN(10) < 3 != up || len(live) == 0 {
					live = append(live, m.add(fmt.Sprintf("t%d", rng.IntN(200))))
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
			if n := len(m.table.slots); n != minTokenSlots {
				t.Errorf("an empty table keeps %d slots", n)
			}
			if m.table.find(hash("t1"), "t1") != nil {
				t.Error("an empty table finds a connection")
			}
		})
	}
}

func TestTokenTableSharesOneCopyOfAToken(t *testing.T) {
	var table tokenTable
	first := &Conn{token: fmt.Sprint("USER", 1), hash: 1}
	second := &Conn{token: fmt.Sprint("USER", 1), hash: 1}
	table.add(first)
	table.add(second)
	if a, b := dataOf(first.token), dataOf(second.token); a != b {
		t.Error("two copies of one token are kept")
	}
}
