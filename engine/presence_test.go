package engine

import (
	"fmt"
	"gorelay/internal/wsclient"
	"slices"
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

// Who is disconnected and reads slowly gets what was accepted before, and nothing
// that is broadcast after: nor is that held, or counted as dropped, for its sake.
func TestDisconnectedGetsNoLaterBroadcasts(t *testing.T) {
	s := serve(t, scripted{}, func(o *Options) { o.PingInterval = 0 })
	slow, other := s.dialStalled("slow"), s.dial("other")
	c := s.conn("slow")
	s.fill("slow", c)
	s.broadcast("before", 2)
	wantText(t, other, "before")
	s.send("slow", "last", 1)
	if n := s.Disconnect("slow", 4001, "go away"); n != 1 {
		t.Fatalf("%d closed", n)
	}
	c.mu.Lock()
	if c.cursor != endOfLog {
		t.Error("it holds the log")
	}
	c.mu.Unlock()
	s.broadcast("after", 1)
	wantText(t, other, "after")
	var got []string
	for {
		_, p, err := slow.ReadMessage()
		if ce, ok := err.(*wsclient.CloseError); ok && ce.Code == 4001 {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if p[0] != 'f' { // see fill
			got = append(got, string(p))
		}
	}
	if want := []string{"before", "last"}; !slices.Equal(got, want) {
		t.Errorf("it got %q, want %q", got, want)
	}
	s.broadcast("after the close frame", 1)
	_ = slow.Close()
	await(t, "it is gone", func() bool { return s.descriptors() == 1 })
	if st := s.Stats(); len(st.Dropped) != 0 || st.WaitingBytes != 0 {
		t.Errorf("dropped %v, %d bytes wait", st.Dropped, st.WaitingBytes)
	}
}

// The same where nothing waited: what is broadcast while the close frames pass
// each other is no loss.
func TestDisconnectedLosesNothing(t *testing.T) {
	s := serve(t, scripted{}, func(o *Options) { o.PingInterval = 0 })
	c := s.dial("a")
	s.Disconnect("a", 4001, "go away")
	s.broadcast("after", 0)
	c.Mute = true
	wantClose(t, c, 4001)
	_ = c.Close()
	await(t, "it is gone", func() bool { return s.descriptors() == 0 })
	if d := s.Stats().Dropped; len(d) != 0 {
		t.Errorf("dropped: %v", d)
	}
}

// Disconnecting those who lag behind a broadcast does not count it once for each,
// and so costs nobody else anything.
func TestDisconnectingALaggingCrowd(t *testing.T) {
	const size, crowd, bystanders = 100 << 10, 40, 10
	e := fullCrowd(crowd, "crowd")
	e.opts.MaxTotalPendingBytes = crowd * size / 2
	if _, err := e.Broadcast(textFrame(strings.Repeat("b", size))); err != nil {
		t.Fatal(err)
	}
	for i := range bystanders {
		c := e.enterFull(crowd+i, "bystander")
		e.loops[0].stalls.add(c, c.outbox())
	}
	if n, err := e.Send("bystander", textFrame("x")); n != bystanders || err != nil {
		t.Fatalf("Send = %d, %v", n, err)
	}
	if n := e.Disconnect("crowd", 4001, ""); n != crowd {
		t.Fatalf("%d closed", n)
	}
	if n, err := e.Send("bystander", textFrame("y")); n != bystanders || err != nil {
		t.Errorf("Send = %d, %v", n, err)
	}
	if n := e.stats.closed[CloseOverload].Load(); n != 0 {
		t.Errorf("%d bystanders closed", n)
	}
}
