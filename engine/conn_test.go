package engine

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gobwas/ws"

	"gorelay/internal/wsclient"
)

// Clients of one loop share its reader. What one has sent in part is not mixed
// up with what another sends meanwhile, wherever it was cut.
func TestClientsInPiecesDoNotMix(t *testing.T) {
	s := serve(t, scripted{message: func(c *Conn, op ws.OpCode, p []byte) { c.Reply(op, p) }}, func(o *Options) {
		o.Loops, o.MaxMessageRate = 1, 0
	})
	streams := [][]byte{
		wsclient.Join(wsclient.Part(wsclient.OpText, []byte("fr")), wsclient.Part(wsclient.OpContinuation, []byte("agm")), wsclient.Data(wsclient.OpContinuation, []byte("ents"))),
		wsclient.Text("fragments").Bytes(),
		wsclient.Join(wsclient.Part(wsclient.OpText, nil), wsclient.Data(wsclient.OpContinuation, []byte("fragments"))),
	}
	var clients []*wsclient.Conn
	for range streams {
		clients = append(clients, s.dial(""))
	}
	other := s.dial("")
	for step := range len(streams[0]) {
		if err := other.SendText("whole"); err != nil {
			t.Fatal(err)
		}
		wantText(t, other, "whole")
		for i, c := range clients {
			if step >= len(streams[i]) {
				continue
			}
			if err := c.Send(streams[i][step : step+1]); err != nil {
				t.Fatal(err)
			}
			if err := wsclient.WaitTaken(c); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range clients {
		wantText(t, c, "fragments")
	}
	for i, l := range s.loops {
		onLoop(l, func() {
			if !l.spare.idle() {
				t.Errorf("the spare reader of loop %d is in the middle of something", i)
			}
		})
	}
	for _, sh := range s.shards {
		for _, c := range sh.conns {
			onLoop(c.loop, func() {
				if c.in != nil {
					t.Error("an idle connection keeps a reader")
				}
			})
		}
	}
}

// A connection that changes its shard in the middle of a broadcast's round may
// have been passed by neither worker: its new one is told.
func TestEnteringBehindTheLogWakesTheWorker(t *testing.T) {
	e := withoutSockets(4)
	c := e.enterFull(1, "a")
	c.blocked = false
	c.appendBroadcast([]byte("b"))
	c.mu.Lock()
	e.shards[c.shard].remove(c)
	e.assign(c, "another")
	c.mu.Unlock()
	s := e.shards[c.shard]
	if !c.dirty || len(s.dirty) != 1 || s.dirty[0] != c {
		t.Errorf("dirty %v, %d on the worker's list", c.dirty, len(s.dirty))
	}
}

// A connection that closes between the look-up and its queue counts neither as
// matched nor as waiting.
func TestSendMeetsAClosingConnection(t *testing.T) {
	e := withoutSockets(1)
	open, closing := e.enterFull(1, "a"), e.enterFull(2, "a")
	closing.state = stateClosing
	f := textFrame("x")
	if n, err := e.Send("a", f); n != 1 || err != nil {
		t.Errorf("Send = %d, %v", n, err)
	}
	// Two were to share the frame.
	if n, want := e.waiting.Load(), int64(f.Len()+1)/2+itemCost; n != want || open.out == nil || closing.out != nil {
		t.Errorf("%d bytes wait, want %d", n, want)
	}
}

// A connection that is up to date costs its new worker nothing.
func TestEnteringUpToDateWakesNobody(t *testing.T) {
	e := withoutSockets(4)
	c := e.enterFull(1, "a")
	if s := e.shards[c.shard]; c.dirty || len(s.dirty) != 0 {
		t.Errorf("dirty %v, %d on the worker's list", c.dirty, len(s.dirty))
	}
}

// A client that sends more than it is served has one turn in a round of its loop,
// however often the epoll says that there is something.
func TestOneTurnInARound(t *testing.T) {
	var got, most atomic.Int64
	h := scripted{message: func(c *Conn, _ ws.OpCode, _ []byte) {
		got.Add(1)
		in := &c.loop.inbox
		in.mu.Lock()
		most.Store(max(most.Load(), int64(len(in.conns))))
		in.mu.Unlock()
	}}
	s := serve(t, h, func(o *Options) { o.Loops, o.MaxMessageRate = 1, 0 })
	c := s.dial("a")
	const messages = 300
	one := wsclient.Join(wsclient.Text(strings.Repeat("x", 60000)))
	for range messages {
		if err := c.Send(one); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "all have come", func() bool { return got.Load() == messages })
	if most.Load() > 1 {
		t.Errorf("%d turns of one connection at once", most.Load())
	}
}
