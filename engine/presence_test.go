package engine

import (
	"fmt"
	"strings"
	"testing"
)

func TestOnline(t *testing.T) {
	s := serve(t, identifying(), nil)
	a := s.dial("a")
	for range 20 {
		s.dial("crowd")
	}
	for token, want := range map[string]int{"a": 1, "crowd": 20, "nobody": 0, "": 0} {
		if n := s.Online(token); n != want {
			t.Errorf("%q: %d, want %d", token, n, want)
		}
	}
	identify(t, a, "crowd")
	if s.Online("a") != 0 || s.Online("crowd") != 21 {
		t.Errorf("after it moved: %d, %d", s.Online("a"), s.Online("crowd"))
	}
}

// Those who are disconnected get what was accepted for them first, then the
// close frame; nobody else notices.
func TestDisconnect(t *testing.T) {
	s := serve(t, identifying(), nil)
	a1, a2, b := s.dial("a"), s.dialStalled("a"), s.dial("b")
	big := strings.Repeat("x", 200_000)
	const count = 4
	for i := range count {
		s.send("a", fmt.Sprint(i, big), 2)
	}
	if n := s.Disconnect("a", 4001, "go away"); n != 2 {
		t.Errorf("%d closed", n)
	}
	if n := s.Disconnect("a", 4001, "go away"); n != 0 || s.Online("a") != 0 {
		t.Errorf("again: %d closed, %d online", n, s.Online("a"))
	}
	s.send("a", "too late", 0)
	for i := range count {
		wantText(t, a1, fmt.Sprint(i, big))
		wantText(t, a2, fmt.Sprint(i, big))
	}
	wantClose(t, a1, 4001)
	wantClose(t, a2, 4001)
	s.send("b", "still here", 1)
	wantText(t, b, "still here")
	if st := s.Stats(); st.Closed["disconnected"] != 2 || len(st.Dropped) != 0 {
		t.Errorf("closed %v, dropped %v", st.Closed, st.Dropped)
	}
}
