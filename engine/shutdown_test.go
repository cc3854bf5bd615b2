package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"gorelay/internal/wsclient"
)

// What was accepted before the stop arrives, then the close frame.
func TestShutdownLetsOutWhatWasAccepted(t *testing.T) {
	s := serve(t, scripted{}, func(o *Options) { o.MaxPendingBytes = 64 << 20 })
	fast, late := s.dial("a"), s.dialStalled("b")
	big := strings.Repeat("x", 100<<10)
	const count = 50
	for i := range count {
		s.broadcast(fmt.Sprint(i, big), 2)
		s.send("b", fmt.Sprint(i, "u"), 1)
	}
	stopped := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.down = true
	go func() { stopped <- s.Shutdown(ctx) }()
	for i := range count {
		wantText(t, fast, fmt.Sprint(i, big))
	}
	wantClose(t, fast, 1001)
	for i := range count {
		wantText(t, late, fmt.Sprint(i, big))
		wantText(t, late, fmt.Sprint(i, "u"))
	}
	wantClose(t, late, 1001)
	_ = fast.Close()
	_ = late.Close()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if d := s.Stats().Dropped; len(d) != 0 {
		t.Errorf("dropped: %v", d)
	}
	if _, err := s.Send("a", textFrame("x")); !errors.Is(err, ErrStopping) {
		t.Errorf("Send: %v", err)
	}
	if _, err := s.Broadcast(textFrame("x")); !errors.Is(err, ErrStopping) {
		t.Errorf("Broadcast: %v", err)
	}
	if err := s.later(time.Now(), "a", textFrame("x"), -1); !errors.Is(err, ErrStopping) {
		t.Errorf("Schedule: %v", err)
	}
}

// Peers that never read, heads that never end, connections that wait for an
// HTTP server: a deadline ends them all. With a context that has ended already
// too.
func TestShutdownAtItsDeadline(t *testing.T) {
	for _, patience := range []time.Duration{0, 50 * time.Millisecond} {
		t.Run(patience.String(), func(t *testing.T) {
			s := serve(t, scripted{}, nil)
			s.dialStalled("blocked")
			s.fill("blocked", s.conn("blocked"))
			for range 5 {
				s.dial("idle")
				s.connect(0)
				half := s.connect(0)
				s.write(half, []byte("GET /ws HTTP/1.1\r\nHost"))
				http := s.connect(0)
				s.write(http, []byte("GET /health HTTP/1.1\r\n\r\n"))
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			s.down = true
			if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Shutdown: %v", err)
			}
		})
	}
}

// A client that lags behind a stop whose time is over gets what is counted as
// sent, and then the end of the stream.
func TestShutdownAtItsDeadlineLosesNothingSent(t *testing.T) {
	s := serve(t, scripted{}, nil)
	c := s.dialStalled("lagging")
	s.fill("lagging", s.conn("lagging"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.down = true
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	var got int64
	var err error
	for {
		if _, _, err = c.ReadMessage(); err != nil {
			break
		}
		got++
	}
	if want := s.Stats().FramesOut; got != want || want == 0 {
		t.Errorf("%d messages of %d that were sent", got, want)
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("in the end %v", err)
	}
}

// An engine whose owner changes its mind before Start.
func TestShutdownBeforeStart(t *testing.T) {
	s := listen(t, scripted{}, nil)
	c := s.connect(0)
	s.write(c, []byte(goodHead)) // before it has said anything, the kernel alone knows it
	done := make(chan error, 1)
	s.down = true
	go func() { done <- s.Shutdown(context.Background()) }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("it hangs")
	}
	wantHangUp(t, c)
}

// Connections that are being made while the engine stops: each is refused,
// dropped or closed, and none keeps the stop waiting.
func TestShutdownDuringHandshakes(t *testing.T) {
	for range 10 {
		s := serve(t, scripted{}, nil)
		var clients sync.WaitGroup
		for range 8 {
			clients.Go(func() {
				for {
					c, err := wsclient.Dialer{Addr: s.addr}.Dial("/ws?token=a")
					if err != nil {
						return // refused, reset or gone: the stop has begun
					}
					_, _, _ = c.ReadMessage()
					_ = c.Close()
				}
			})
		}
		await(t, "some are in", func() bool { return s.Stats().Upgraded > 3 })
		s.stop()
		clients.Wait()
	}
}

// A handshake that was judged just before the stop and enters after it is
// closed like the others.
func TestShutdownMeetsAHandshakeHalfway(t *testing.T) {
	inOpen, goOn := make(chan struct{}), make(chan struct{})
	s := listen(t, scripted{open: func(r *Request) (string, error) {
		close(inOpen)
		<-goOn
		return "a", nil
	}}, func(o *Options) { o.Loops = 2 })
	s.loops[0].listener.next = 1 // its loop is not the one that stops listening
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	c := s.connect(0)
	s.write(c, []byte(goodHead))
	<-inOpen
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.down = true
	go func() { done <- s.Shutdown(ctx) }()
	await(t, "the stop has begun", func() bool { return s.stopping.Load() })
	close(goOn)
	wantHangUp(t, c)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A client that identifies while a stop goes from shard to shard, and would move
// into one that has been passed, is closed like the others.
func TestIdentifyDuringShutdown(t *testing.T) {
	s := serve(t, identifying(), func(o *Options) { o.Shards, o.PingInterval, o.MaxMessageRate = 4, 0, 0 })
	in := func(shard uint32) string { // a token of that shard
		for i := 0; ; i++ {
			if token := fmt.Sprint("t", i); s.shardIndex(s.hash(token)) == shard {
				return token
			}
		}
	}
	mover, _ := s.dial(in(3)), s.dial(in(1))
	s.shards[2].mu.Lock() // the stop stands still behind shard 1
	s.down = true
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(ctx) }()
	await(t, "the first shards are closed", func() bool { return s.open.Load() == 1 })
	before := s.stats.framesIn.Load()
	if err := mover.SendText(in(0)); err != nil {
		t.Fatal(err)
	}
	await(t, "it has identified", func() bool { return s.stats.framesIn.Load() > before })
	s.shards[2].mu.Unlock()
	wantClose(t, mover, 1001)
	_ = mover.Close()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
