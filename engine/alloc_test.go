//go:build !race

package engine

import (
	"log/slog"
	"runtime"
	"testing"

	"github.com/gobwas/ws"

	"gorelay/internal/wsclient"
)

// allocsOnLoop counts f's allocations where it belongs, on c's loop.
func allocsOnLoop(c *Conn, f func()) (n float64) {
	onLoop(c.loop, func() { n = testing.AllocsPerRun(200, f) })
	return n
}

func TestInboundFramesAllocateNothing(t *testing.T) {
	s := serve(t, scripted{}, func(o *Options) { o.PingInterval, o.MaxMessageRate = 0, 0 })
	s.dial("a")
	c := s.conn("a")
	payload := []byte("reply")
	for _, tt := range []struct {
		name string
		do   func()
	}{
		{"ping", func(wire []byte) func() { return func() { c.feed(wire) } }(plainMask(wsclient.Data(wsclient.OpPing, []byte("hello"))))},
		{"text", func(wire []byte) func() { return func() { c.feed(wire) } }(plainMask(wsclient.Text(`{"type":"x"}`)))},
		{"reply", func() { c.Reply(ws.OpText, payload); c.loop.replies.send() }},
	} {
		if n := allocsOnLoop(c, tt.do); n != 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
	}
}

// The price of a push to one idle connection, from Send to the socket. The
// outbox comes from a pool, which a garbage collection may empty.
func TestSendAllocations(t *testing.T) {
	const perSend, perBroadcast = 0, 1 // a broadcast is an entry in the log
	s := serve(t, scripted{}, func(o *Options) { o.PingInterval, o.Loops, o.Shards = 0, 1, 1 })
	c := s.dial("a")
	read := make(chan struct{})
	go func() {
		defer close(read)
		_ = c.Discard() // ends with the connection
	}()
	f := textFrame("a message of the usual kind")
	sent := s.Stats().FramesOut
	flushed := func() {
		sent++
		for s.stats.framesOut.Load() < sent {
			runtime.Gosched()
		}
	}
	if n := testing.AllocsPerRun(500, func() { _, _ = s.Send("a", f); flushed() }); n > perSend {
		t.Errorf("%v allocations a Send", n)
	}
	if n := testing.AllocsPerRun(500, func() { _, _ = s.Broadcast(f); flushed() }); n > perBroadcast {
		t.Errorf("%v allocations a Broadcast", n)
	}
	s.stop()
	<-read
}

// A sweep yields after every few connections.
func TestYieldAllocatesNothing(t *testing.T) {
	mine := newTurn(slog.New(slog.DiscardHandler))
	defer mine.close()
	if n := testing.AllocsPerRun(200, mine.yield); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
