package engine

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"gorelay/internal/wsclient"
)

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Options)
	}{
		{"Loops", func(o *Options) { o.Loops = 0 }},
		{"Shards", func(o *Options) { o.Shards = -1 }},
		{"MaxPendingBytes", func(o *Options) { o.MaxPendingBytes = 0 }},
		{"WriteTimeout", func(o *Options) { o.WriteTimeout = 0 }},
		{"PingInterval", func(o *Options) { o.PingInterval = -1 }},
		{"MaxMessageRate", func(o *Options) { o.MaxMessageRate = -1 }},
		{"Logger", func(o *Options) { o.Logger = nil }},
	} {
		o := DefaultOptions()
		o.Addr = "127.0.0.1:0"
		tt.change(&o)
		if _, err := Listen(o, scripted{}); err == nil || !strings.Contains(err.Error(), tt.name) {
			t.Errorf("%s: error %v", tt.name, err)
		}
	}
}

func TestSendCountsWhoMatches(t *testing.T) {
	s := serve(t, identifying(), nil)
	a1, a2, b, none := s.dial("a"), s.dial("a"), s.dial("b"), s.dial("")
	s.send("a", "for a", 2)
	s.send("b", "for b", 1)
	s.send("nobody", "lost", 0)
	s.broadcast("for all", 4)
	for _, tt := range []struct {
		c    *wsclient.Conn
		want []string
	}{{a1, []string{"for a", "for all"}}, {a2, []string{"for a", "for all"}}, {b, []string{"for b", "for all"}}, {none, []string{"for all"}}} {
		for _, want := range tt.want {
			wantText(t, tt.c, want)
		}
	}
	identify(t, none, "a")
	s.send("a", "now for three", 3)
	wantText(t, none, "now for three")
	identify(t, none, "")
	s.send("a", "for two again", 2)
	if err := a2.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "a2 is gone", func() bool { return s.Stats().Open == 3 })
	s.send("a", "for one", 1)
	s.broadcast("for three", 3)
	wantText(t, none, "for three")
}

// identify moves a client of an identifying server, and waits until it is so.
func identify(t testing.TB, c *wsclient.Conn, token string) {
	t.Helper()
	if err := c.SendFrames(wsclient.Text(token), wsclient.Text("=moved")); err != nil {
		t.Fatal(err)
	}
	wantText(t, c, "moved")
}

// One publisher's messages reach a client in order, of whatever kind.
func TestUnicastAndBroadcastKeepTheirOrder(t *testing.T) {
	s := serve(t, scripted{}, nil)
	a, b := s.dial("a"), s.dial("b")
	const count = 600
	for i := range count {
		if text := fmt.Sprint(i); i%3 == 0 {
			s.broadcast(text, 2)
		} else {
			s.send("a", text, 1)
		}
	}
	for i := range count {
		wantText(t, a, fmt.Sprint(i))
		if i%3 == 0 {
			wantText(t, b, fmt.Sprint(i))
		}
	}
}

// Clients that move from token to token while broadcasts run get each of them
// exactly once, in order.
func TestMovingClientsGetBroadcastsOnce(t *testing.T) {
	s := serve(t, identifying(), func(o *Options) { o.Loops, o.Shards, o.MaxMessageRate = 2, 17, 0 })
	const clients, count = 12, 400
	conns := make([]*wsclient.Conn, clients)
	for i := range conns {
		conns[i] = s.dial(fmt.Sprint("start", i))
	}
	var movers, readers sync.WaitGroup
	var moves atomic.Int64
	stop := make(chan struct{})
	for i, c := range conns {
		movers.Go(func() {
			for j := 0; ; j++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := c.SendText(fmt.Sprintf("t%d", (i*7+j)%40)); err != nil {
					t.Error(err)
					return
				}
				// Not far ahead of the server: every broadcast meets moves.
				sent := moves.Add(1)
				if !soon(func() bool { return s.Stats().FramesIn > sent-100 }) {
					t.Error("the server does not keep up")
					return
				}
			}
		})
		readers.Go(func() {
			for j := range count {
				_, p, err := c.ReadMessage()
				if err != nil || string(p) != fmt.Sprint(j) {
					t.Errorf("client %d: %q, %v; want %d", i, p, err, j)
					return
				}
			}
		})
	}
	for j := range count {
		before := s.Stats().FramesIn
		s.broadcast(fmt.Sprint(j), clients)
		await(t, "some moves", func() bool { return s.Stats().FramesIn >= before+10 })
	}
	readers.Wait()
	close(stop)
	movers.Wait()
	s.broadcast("last", clients)
	for _, c := range conns {
		wantText(t, c, "last") // and not one of the others again
	}
}

// Who joins while broadcasts run gets every one from some point on.
func TestJoiningClientsMissNothingAfterTheirFirst(t *testing.T) {
	s := serve(t, scripted{}, func(o *Options) { o.Shards = 9 })
	const count, last = 300, 299
	var joiners sync.WaitGroup
	for i := range 4 {
		joiners.Go(func() {
			for j := range 8 {
				d := wsclient.Dialer{Addr: s.addr}
				c, err := d.Dial(fmt.Sprintf("/ws?token=%d-%d", i, j))
				if err != nil {
					t.Error(err)
					return
				}
				next := -1
				for next != count {
					_, p, err := c.ReadMessage()
					var n int
					if _, serr := fmt.Sscan(string(p), &n); err != nil || serr != nil || next >= 0 && n != next {
						t.Errorf("%q, %v; want %d", p, err, next)
						break
					}
					if n == last {
						break
					}
					next = n + 1
				}
				_ = c.Close()
			}
		})
	}
	done := make(chan struct{})
	go func() { joiners.Wait(); close(done) }()
	for {
		for j := range count {
			if _, err := s.Broadcast(textFrame(fmt.Sprint(j))); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

// Many publishers at once: each one's messages stay in order, none is lost or
// doubled, and everything that waited has gone.
func TestPublishersDoNotMixUpEachOther(t *testing.T) {
	s := serve(t, scripted{}, func(o *Options) { o.MaxPendingBytes = 64 << 20 })
	const publishers, count = 8, 200
	clients := []*wsclient.Conn{s.dial("a"), s.dial("a"), s.dialStalled("b")}
	var publishing sync.WaitGroup
	for p := range publishers {
		publishing.Go(func() {
			for i := range count {
				f := textFrame(fmt.Sprintf("%d %d", p, i))
				var err error
				switch i % 3 {
				case 0:
					_, err = s.Broadcast(f)
				case 1:
					_, err = s.Send("a", f)
				default:
					_, err = s.Send("b", f)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	publishing.Wait()
	for k, c := range clients {
		next := make([]int, publishers)
		unicast := 1 // the remainder that is this client's
		if k == 2 {
			unicast = 2
		}
		for remaining := publishers; remaining > 0; {
			_, payload, err := c.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			var p, i int
			if _, err := fmt.Sscan(string(payload), &p, &i); err != nil {
				t.Fatalf("%q: %v", payload, err)
			}
			for next[p]%3 != 0 && next[p]%3 != unicast {
				next[p]++
			}
			if i != next[p] {
				t.Fatalf("client %d, publisher %d: %d, want %d", k, p, i, next[p])
			}
			next[p]++
			for next[p] < count && next[p]%3 != 0 && next[p]%3 != unicast {
				next[p]++
			}
			if next[p] >= count {
				remaining--
			}
		}
	}
	await(t, "nothing waits", func() bool { return s.Stats().WaitingBytes == 0 })
}

func TestMaxConnsAnswers503(t *testing.T) {
	s := serve(t, scripted{}, func(o *Options) { o.MaxConns = 1 })
	first := s.dial("a")
	_, err := wsclient.Dialer{Addr: s.addr}.Dial("/ws")
	var refused *wsclient.RefusedError
	if !errors.As(err, &refused) || refused.Response.Status != 503 || refused.Response.Header.Get("Retry-After") == "" {
		t.Fatalf("the second: %v", err)
	}
	_ = first.Close()
	await(t, "room again", func() bool { return s.Stats().Open == 0 })
	s.dial("b")
}
