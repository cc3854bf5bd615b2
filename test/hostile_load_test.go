package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"gorelay/internal/relaytest"
	"gorelay/internal/wsclient"
)

// TestReadersThatStop pushes 200 MB in all to clients that have stopped
// reading. They are closed; the relay's memory stays bounded; a client that
// reads gets everything, in order.
func TestReadersThatStop(t *testing.T) {
	const (
		stopped = 20
		size    = 64 << 10 // of one message
		pushes  = 160      // 20 × 160 × 64 KiB are 200 MB and more
		window  = 2        // messages ahead of the reader, so that it is never slow
		pending = 256 << 10
	)
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"max_pending_bytes": pending, "max_push_bytes": 1 << 20}})
	r.Secret("stopped-0", "stopped-1", "stopped-2")
	p := r.Publisher(t)
	before, memory := idleDescriptors(t, r), r.RSS()
	reader := r.Dial(t, "/ws?token=reader")
	settle(t, reader)
	var dead []*wsclient.Conn
	for i := range stopped {
		c, err := wsclient.Dialer{Addr: r.Addr, ReadBuffer: 4 << 10}.Dial(fmt.Sprintf("/ws?token=stopped-%d", i%3))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		dead = append(dead, c)
	}
	body := `{"event_name":"big","subject":{"n":%d,"fill":"` + repeat("f", size) + `"}`
	room := make(chan struct{}, window)
	failed := make(chan error, 1)
	go func() { // ends after the last push or the first error
		defer close(failed)
		for n := range pushes {
			room <- struct{}{}
			for _, token := range []string{`,"token":"stopped-0"}`, `}`} {
				answer, err := p.Push([]byte(fmt.Sprintf(body, n) + token))
				if err != nil || answer.Status != 200 {
					failed <- fmt.Errorf("push %d: %+v %v", n, answer, err)
					return
				}
			}
		}
	}()
	var peak int64
	for n := range pushes {
		e := wantEvent(t, reader, "big")
		var subject struct{ N int }
		if err := json.Unmarshal(e.Data.Subject, &subject); err != nil || subject.N != n {
			t.Fatalf("got message %d (%v), want %d", subject.N, err, n)
		}
		<-room
		if n%8 == 0 {
			peak = max(peak, r.RSS())
		}
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	p.Close()
	r.WaitDescriptors(before + 1) // the reader
	for _, c := range dead {
		if err := c.Discard(); err != nil {
			t.Errorf("a reader that stopped was not closed: %v", err)
		}
	}
	if grown := peak - memory; grown > rssSlack()+stopped*pending {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	wantHealthy(t, r)
}

// churn is how a connection of the mass test ends.
var churn = []func(*wsclient.Conn) error{
	func(c *wsclient.Conn) error { return c.Reset() },
	func(c *wsclient.Conn) error { return c.Close() },
	func(c *wsclient.Conn) error {
		if err := c.SendFrames(wsclient.CloseFrame(1000, "")); err != nil {
			return err
		}
		return c.Discard()
	},
	func(c *wsclient.Conn) error { // it identifies and leaves before it can know
		if err := c.SendText(`{"event":"identify","data":{"token":"churn-b"}}`); err != nil {
			return err
		}
		return c.Reset()
	},
	func(c *wsclient.Conn) error {
		if err := c.SendFrames(final(3, "broken")); err != nil {
			return err
		}
		return c.Discard()
	},
}

// TestMassConnectDisconnect comes and goes thousands of times while pushes to
// the same tokens run, and leaves neither a descriptor nor a goroutine.
func TestMassConnectDisconnect(t *testing.T) {
	cycles, workers := 3000, 16
	if relaytest.Race {
		cycles = 1000
	}
	quiet := relaytest.StartRelay(t, relaytest.Setup{})
	wantHealthy(t, quiet)
	r := relaytest.StartRelay(t, relaytest.Setup{})
	before := idleDescriptors(t, r)
	stays := r.Dial(t, "/ws?token=stays")
	settle(t, stays)

	stop := make(chan struct{})
	pushed := make(chan error, 1)
	go func() { // ends when stop is closed
		p := &relaytest.Publisher{Addr: r.Addr, Key: relaytest.Key}
		defer p.Close()
		for n := 0; ; n++ {
			select {
			case <-stop:
				pushed <- nil
				return
			default:
			}
			token := []string{`"churn-a"`, `"churn-b"`}[n%2]
			if answer, err := p.Push([]byte(`{"event_name":"e","subject":1,"token":` + token + `}`)); err != nil || answer.Status != 200 {
				pushed <- fmt.Errorf("push: %+v %v", answer, err)
				return
			}
		}
	}()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for n := range cycles / workers {
				if (n+w)%10 == 9 { // half a handshake
					c, err := wsclient.Dialer{Addr: r.Addr}.DialRaw([]byte("GET /ws HTTP/1.1\r\nHost: "))
					if err != nil {
						t.Error(err)
						return
					}
					_ = c.Reset()
					continue
				}
				c, err := wsclient.Dialer{Addr: r.Addr}.Dial("/ws?token=churn-a")
				if err != nil {
					t.Error(err)
					return
				}
				if err := churn[(n+w)%len(churn)](c); err != nil {
					t.Error(err)
				}
				c.Close()
			}
		})
	}
	wg.Wait()
	close(stop)
	if err := <-pushed; err != nil {
		t.Fatal(err)
	}
	settle(t, stays)
	p := r.Publisher(t)
	push(t, p, `{"event_name":"still","subject":1,"token":"stays"}`)
	wantEvent(t, stays, "still")
	stays.Close()
	p.Close()
	r.WaitDescriptors(before)
	wantGoroutines(t, r, quiet)
}

// wantGoroutines ends both relays and wants no more goroutines in the one that
// was under load than in the quiet one, but for a few of the runtime's and of
// HTTP's pools.
func wantGoroutines(t *testing.T, loaded, quiet *relaytest.Relay) {
	t.Helper()
	const slack = 8
	many, few := loaded.Goroutines(), quiet.Goroutines()
	if len(few) == 0 {
		t.Fatal("no stacks in the dump")
	}
	if len(many) > len(few)+slack {
		t.Errorf("%d goroutines after the load, %d in a quiet relay:\n%s", len(many), len(few), strings.Join(many, "\n\n"))
	}
}

// TestConnectionLimit: past max_connections a handshake gets 503, and the slot
// of one that leaves serves again.
func TestConnectionLimit(t *testing.T) {
	const limit = 5
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"max_connections": limit}})
	p := r.Publisher(t)
	var conns []*wsclient.Conn
	for range limit {
		c := r.Dial(t, "/ws")
		settle(t, c)
		conns = append(conns, c)
	}
	for range 3 {
		c, err := wsclient.Dialer{Addr: r.Addr}.DialRaw(wsclient.Handshake("/ws", r.Addr))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := c.ReadResponse()
		if err != nil || answer.Status != 503 {
			t.Fatalf("got %+v %v, want 503", answer, err)
		}
		wantRetryAfter(t, answer)
		c.Close()
	}
	push(t, p, `{"event_name":"all","subject":1}`) // HTTP is not counted
	for i, c := range conns {
		wantEvent(t, c, "all")
		c.Close()
		var again *wsclient.Conn
		eventually(t, "a free slot", func() (ok bool) {
			var err error
			again, err = wsclient.Dialer{Addr: r.Addr}.Dial("/ws")
			return err == nil
		})
		defer again.Close()
		settle(t, again)
		conns[i] = again
	}
}

// TestSecondRelayOnPort: it says what is wrong and exits 1; the first one does
// not notice.
func TestSecondRelayOnPort(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	code, log := relaytest.RunRelay(t, relaytest.Setup{Config: relaytest.Config{"port": r.Port}})
	if code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if !strings.Contains(log, r.Port) || strings.Contains(log, "goroutine ") {
		t.Errorf("the log does not say which port is taken:\n%s", log)
	}
	for range 20 { // every accept goes to the first
		wantHealthy(t, r)
	}
}

// TestOutOfDescriptors fills the relay with connections that say nothing until
// it has no descriptor left.
func TestOutOfDescriptors(t *testing.T) {
	t.Parallel()
	const limit, silent = 96, 200
	r := relaytest.StartRelay(t, relaytest.Setup{Descriptors: limit, Config: relaytest.Config{"handshake_timeout": "20s", "max_connections": 80}})
	p := r.Publisher(t)
	c := r.Dial(t, "/ws?token=inside")
	settle(t, c)
	push(t, p, `{"event_name":"before","subject":1,"token":"inside"}`)
	wantEvent(t, c, "before")
	base := r.Descriptors()

	var conns []*wsclient.Conn
	for range silent {
		conn, err := wsclient.Dialer{Addr: r.Addr}.DialRaw(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	full := func() bool { return r.AllDescriptors() >= limit-4 }
	eventually(t, "no descriptor left", full)
	// Those inside are served as before, and the relay does not spin: the
	// delayed push measures a second of what it does when it can do nothing.
	settle(t, c)
	used, began := r.CPU(), time.Now()
	push(t, p, `{"event_name":"second","subject":1,"token":"inside","delay_seconds":1}`)
	wantEvent(t, c, "second")
	if share := float64(r.CPU()-used) / float64(time.Since(began)); share > 0.5 {
		t.Errorf("the relay used %.0f %% of a core while it was out of descriptors", 100*share)
	}
	if !full() {
		t.Errorf("%d descriptors are open: the test did not test", r.AllDescriptors())
	}
	for _, conn := range conns {
		conn.Close()
	}
	// The kernel has more of them, which were not accepted yet: each takes a
	// descriptor for a moment. They are through when one behind them is.
	eventually(t, "it answers again", func() bool {
		p := &relaytest.Publisher{Addr: r.Addr, Key: relaytest.Key}
		defer p.Close()
		h, err := p.Do("GET", "/health", nil)
		return err == nil && h.Status == 200
	})
	r.WaitDescriptors(base)
	wantHealthy(t, r)
	push(t, p, `{"event_name":"after","subject":1,"token":"inside"}`)
	wantEvent(t, c, "after")
}
