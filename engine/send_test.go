package engine

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// A multicast reaches each connection of each token once, and is all or
// nothing.
func TestMulticast(t *testing.T) {
	s := serve(t, scripted{}, func(o *Options) { o.MaxTotalPendingBytes = 10_000 })
	a, b1, b2, c := s.dial("a"), s.dial("b"), s.dial("b"), s.dial("c")
	n, err := s.Multicast([]string{"a", "b", "nobody"}, textFrame("to a and b"))
	if n != 3 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := s.Multicast([]string{"a", "c"}, textFrame(strings.Repeat("x", 10_000))); !errors.Is(err, ErrSaturated) {
		t.Errorf("too large: %v", err)
	}
	if n, err := s.Multicast(nil, textFrame("nobody")); n != 0 || err != nil {
		t.Errorf("no token: %d, %v", n, err)
	}
	s.broadcast("end", 4)
	wantText(t, a, "to a and b")
	wantText(t, b1, "to a and b")
	wantText(t, b2, "to a and b")
	wantText(t, a, "end")
	wantText(t, b1, "end")
	wantText(t, b2, "end")
	wantText(t, c, "end")
}

// A connection that moves from one token to another while both are addressed
// gets the message once, neither twice nor not at all.
func TestMulticastToAConnectionThatMoves(t *testing.T) {
	s := serve(t, scripted{}, nil)
	client := s.dial("a")
	c := s.matching(nil, "a")[0]
	var others sync.WaitGroup
	others.Go(func() { _ = client.Discard() })
	stop := make(chan struct{})
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				c.Identify("b")
				c.Identify("a")
			}
		}
	})
	tokens := []string{"a"}
	for i := range 1000 { // the time that it takes to look these up is the time to move
		tokens = append(tokens, fmt.Sprint("nobody ", i))
	}
	tokens = append(tokens, "b")
	for range 300 {
		if n, err := s.Multicast(tokens, textFrame("x")); n != 1 || err != nil {
			t.Errorf("%d copies, %v", n, err)
			break
		}
	}
	close(stop)
	_ = client.Close()
	others.Wait()
}
