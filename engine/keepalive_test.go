package engine

import (
	"errors"
	"testing"
	"time"

	"gorelay/internal/wsclient"
)

// stillClock makes an engine whose own keepalive ticks so rarely that the test
// drives one of its own instead: 64 ticks of silence before a ping, 64 to
// answer it.
func stillClock(t *testing.T) (*server, *keepalive) {
	s := serve(t, identifying(), func(o *Options) {
		o.PingInterval, o.PongTimeout = 64*24*time.Hour, 64*24*time.Hour
	})
	k := newKeepalive(s.Engine)
	if k.silent != 64 || k.pong != 64 {
		t.Fatalf("%d ticks of silence, %d to answer", k.silent, k.pong)
	}
	return s, k
}

// ticks moves the clock on by n.
func (k *keepalive) ticks(n int) {
	for range n {
		now := k.eng.clock.Add(1)
		k.expire(now)
		k.walk(now)
	}
}

// wantPing reads one ping and leaves it unanswered.
func wantPing(t *testing.T, c *wsclient.Conn) {
	t.Helper()
	if f, err := c.ReadFrame(); err != nil || f.Op != wsclient.OpPing || len(f.Payload) != 0 {
		t.Fatalf("%+v, %v; want a ping", f, err)
	}
}

// say makes the server take something of c.
func (s *server) say(c *wsclient.Conn) {
	s.t.Helper()
	if err := c.SendText("=heard"); err != nil {
		s.t.Fatal(err)
	}
	wantText(s.t, c, "heard")
}

func TestSilenceIsPingedAndThenClosed(t *testing.T) {
	s, k := stillClock(t)
	chatty, answering, mute := s.dial("chatty"), s.dial("answering"), s.dial("mute")
	const round = ticksPerRound + 1

	k.ticks(63)
	s.say(chatty)
	if n := s.Stats().Pings; n != 0 {
		t.Fatalf("%d pings before the time", n)
	}
	k.ticks(round + 1)
	if n := s.Stats().Pings; n != 2 {
		t.Fatalf("%d pings, want one for each silent client", n)
	}
	wantPing(t, answering)
	wantPing(t, mute)
	if err := answering.SendFrames(wsclient.Data(wsclient.OpPong, nil)); err != nil {
		t.Fatal(err)
	}
	await(t, "the pong is in", func() bool { return s.conn("answering").seen.Load() == k.eng.clock.Load() })

	s.say(chatty)
	k.ticks(60)
	s.say(chatty)
	if n := s.Stats().Pings; n != 2 {
		t.Errorf("%d pings: a pinged client was pinged again before its time", n)
	}
	k.ticks(round)
	wantClose(t, mute, 1008)
	s.say(answering)
	s.say(chatty)
	if st := s.Stats(); st.Closed["pong_timeout"] != 1 || st.Open != 2 {
		t.Errorf("open %d, closed %v", st.Open, st.Closed)
	}
}

// A client whose socket is full is not pinged: the write timeout is its judge.
func TestFullSocketIsNotPinged(t *testing.T) {
	s, k := stillClock(t)
	s.dialStalled("full")
	s.fill("full", s.conn("full"))
	k.ticks(200)
	if st := s.Stats(); st.Pings != 0 || st.Open != 1 {
		t.Errorf("pings %d, open %d", st.Pings, st.Open)
	}
}

// One round reaches every connection, however they are spread.
func TestRoundReachesEveryConnection(t *testing.T) {
	s, k := stillClock(t)
	const count = 150 // more than a slice
	for range count {
		s.dial("one-token")
	}
	k.ticks(64 + ticksPerRound + 2)
	if n := s.Stats().Pings; n != count {
		t.Errorf("%d pings for %d connections", n, count)
	}
}

// With the engine's own clock.
func TestMuteClientIsClosedInTime(t *testing.T) {
	s := serve(t, scripted{}, func(o *Options) {
		o.PingInterval, o.PongTimeout = 20*time.Millisecond, 20*time.Millisecond
	})
	c := s.dial("a")
	wantPing(t, c)
	c.Mute = true
	_, _, err := c.ReadMessage()
	var ce *wsclient.CloseError
	if !errors.As(err, &ce) || ce.Code != 1008 {
		t.Errorf("%v", err)
	}
}
