package engine

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// bareConn is an open connection of an engine that has no sockets.
func bareConn() (*Conn, *writer) {
	e := &Engine{opts: DefaultOptions()}
	e.log.init()
	c := &Conn{loop: &loop{eng: e}, state: stateOpen, cursor: e.log.tail.Load()}
	return c, &writer{eng: e}
}

func (c *Conn) appendBroadcast(wire []byte) {
	if !c.loop.eng.log.append(Frame{wire}, 1<<60, func() uint64 { return 0 }) {
		panic("the log is full")
	}
}

// A client that always lags a little, for weeks, costs no more than its lag.
func TestQueueOfALaggardStaysSmall(t *testing.T) {
	c, w := bareConn()
	wire := []byte("frame")
	for range 3 {
		c.push(unicast{wire: wire, after: c.cursor, cost: len(wire)})
	}
	for range 100_000 {
		c.push(unicast{wire: wire, after: c.cursor, cost: len(wire)})
		w.advance(c, len(wire))
	}
	if n := cap(c.out.queue); n > 64 {
		t.Errorf("room for %d frames with 3 waiting", n)
	}
	if waiting := c.out.queued; waiting != 3*len(wire) {
		t.Errorf("%d bytes queued, want %d", waiting, 3*len(wire))
	}
}

// wireOf returns a recognizable frame.
func wireOf(i, n int) []byte {
	return append(fmt.Appendf(nil, "<%d:", i), bytes.Repeat([]byte{'.'}, n)...)
}

// However much the socket takes at a time, the peer gets every byte once, in
// the order of acceptance, and the waiting count ends where it began.
func TestBacklogInAnyPortions(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for round := range 200 {
		c, w := bareConn()
		e := c.loop.eng
		var want, got []byte
		accepted := 0
		for step := 0; step < 60 || len(got) < len(want); step++ {
			if step < 60 && rng.IntN(3) > 0 {
				size := rng.IntN(40)
				if rng.IntN(10) == 0 {
					size = rng.IntN(2 * maxJoin)
				}
				wire := wireOf(accepted, size)
				accepted++
				want = append(want, wire...)
				if rng.IntN(2) == 0 {
					c.appendBroadcast(wire)
				} else {
					e.waiting.Add(int64(len(wire)))
					c.push(unicast{wire: wire, after: e.log.tail.Load(), cost: len(wire)})
				}
				continue
			}
			chunk, to := w.gather(c)
			if chunk == nil {
				if len(got) < len(want) && step > 60 {
					t.Fatalf("round %d: stuck with %d of %d bytes sent", round, len(got), len(want))
				}
				continue
			}
			n := len(chunk)
			if rng.IntN(2) == 0 {
				n = rng.IntN(n + 1)
			}
			got = append(got, chunk[:n]...)
			if to != nil && n == len(chunk) {
				c.cursor = to
			} else {
				w.advance(c, n)
			}
			if rng.IntN(4) == 0 {
				w.report()
			}
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("round %d: the peer got something else", round)
		}
		if chunk, _ := w.gather(c); chunk != nil || e.waiting.Load() != 0 {
			t.Fatalf("round %d: %d bytes to send, %d counted as waiting", round, len(chunk), e.waiting.Load())
		}
	}
}

// What a worker keeps for reuse is right for the next connection only if that
// one lacks the very same broadcasts.
func TestJoinedRunIsNotGivenToTheWrongConnection(t *testing.T) {
	c, w := bareConn()
	start := c.cursor
	c.appendBroadcast([]byte("a"))
	middle := c.loop.eng.log.tail.Load()
	c.appendBroadcast([]byte("b"))
	other := &Conn{loop: c.loop, state: stateOpen, cursor: middle}
	same := &Conn{loop: c.loop, state: stateOpen, cursor: start}
	for _, tt := range []struct {
		c    *Conn
		want string
	}{{c, "ab"}, {other, "b"}, {same, "ab"}} {
		if chunk, _ := w.gather(tt.c); string(chunk) != tt.want {
			t.Errorf("%q, want %q", chunk, tt.want)
		}
	}
	c.appendBroadcast([]byte("c"))
	if chunk, _ := w.gather(same); string(chunk) != "abc" {
		t.Errorf("after one more: %q", chunk)
	}
	w.report()
	if w.runFrom != nil || w.runTo != nil {
		t.Error("an idle worker pins the broadcast log")
	}
}

// An empty frame is nothing to send, and must not stop what comes behind it.
func TestEmptyFrameBlocksNothing(t *testing.T) {
	s := serve(t, scripted{}, nil)
	c := s.dial("a")
	if n, err := s.Send("a", Frame{}); err != nil {
		t.Errorf("Send = %d, %v", n, err)
	}
	if n, err := s.Broadcast(Frame{}); err != nil {
		t.Errorf("Broadcast = %d, %v", n, err)
	}
	s.send("a", "one", 1)
	s.broadcast("two", 1)
	wantText(t, c, "one")
	wantText(t, c, "two")
}

// A receiver that reads late, with a small window and in odd sizes, gets every
// byte of every frame once, in the order of acceptance.
func TestLateReaderGetsEveryByte(t *testing.T) {
	s := serve(t, scripted{}, func(o *Options) { o.MaxPendingBytes = 64 << 20 })
	for round := range 3 {
		raw := s.dialRaw("late", 4096+round)
		rng := rand.New(rand.NewPCG(uint64(round), 8))
		var want []byte
		for i := range 60 {
			size := rng.IntN(300 << 10)
			if i%3 == 0 {
				size = rng.IntN(200) // small ones between them, to be joined
			}
			f := textFrame(fmt.Sprintf("%d:%s", i, strings.Repeat(string(rune('a'+i%26)), size)))
			want = append(want, f.wire...)
			n, err := 0, error(nil)
			if rng.IntN(2) == 0 {
				n, err = s.Broadcast(f)
			} else {
				n, err = s.Send("late", f)
			}
			if n != 1 || err != nil {
				t.Fatalf("frame %d: %d, %v", i, n, err)
			}
		}
		c := s.conn("late")
		await(t, "the socket is full", func() bool { return s.blocked(c) })
		var got []byte
		buf := make([]byte, 70_001)
		for len(got) < len(want) {
			n, err := raw.Read(buf[:1+rng.IntN(len(buf))])
			if err != nil {
				t.Fatalf("after %d of %d bytes: %v", len(got), len(want), err)
			}
			got = append(got, buf[:n]...)
		}
		if !bytes.Equal(got, want) {
			t.Fatal("the bytes are not those that were accepted")
		}
		await(t, "nothing waits", func() bool { return s.Stats().WaitingBytes == 0 })
		_ = raw.Close()
		await(t, "the connection is gone", func() bool { return s.Stats().Open == 0 })
	}
	if d := s.Stats().Dropped; len(d) != 0 {
		t.Errorf("dropped: %v", d)
	}
}

// Replies and pushes share a full socket: each kind keeps its order, no frame
// is torn.
func TestRepliesBetweenPushesOnAFullSocket(t *testing.T) {
	s := serve(t, identifying(), func(o *Options) { o.MaxPendingBytes, o.MaxMessageRate = 64<<20, 0 })
	client := s.dialStalled("a")
	s.fill("a", s.conn("a"))
	const count = 200
	pad := strings.Repeat("-", 3000)
	for i := range count {
		if err := client.SendText(fmt.Sprintf("=reply %d %s", i, pad)); err != nil {
			t.Fatal(err)
		}
		s.send("a", fmt.Sprintf("push %d %s", i, pad), 1)
		if i%10 == 0 {
			s.broadcast(fmt.Sprintf("push %d.5 %s", i, pad), 1)
		}
	}
	var replies, pushes []string
	for len(replies) < count || len(pushes) < count+count/10 {
		_, p, err := client.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		kind, rest, _ := strings.Cut(string(p), " ")
		i, padding, _ := strings.Cut(rest, " ")
		switch {
		case padding != pad && kind[0] != 'f':
			t.Fatalf("a torn message: %.40q", p)
		case kind == "reply":
			replies = append(replies, i)
		case kind == "push":
			pushes = append(pushes, i)
		}
	}
	var wantReplies, wantPushes []string
	for i := range count {
		wantReplies = append(wantReplies, fmt.Sprint(i))
		wantPushes = append(wantPushes, fmt.Sprint(i))
		if i%10 == 0 {
			wantPushes = append(wantPushes, fmt.Sprint(i)+".5")
		}
	}
	if !slices.Equal(replies, wantReplies) || !slices.Equal(pushes, wantPushes) {
		t.Errorf("replies %v\npushes %v", replies, pushes)
	}
	await(t, "nothing waits", func() bool { return s.Stats().WaitingBytes == 0 })
}

// A queue that outgrew its first array keeps the second one for the next of its
// kind, with nothing in it, and without it for what grew further.
func TestQueueKeepsItsSecondArray(t *testing.T) {
	e := withoutSockets(1)
	w := &writer{eng: e}
	c := e.enterFull(1, "a")
	for _, count := range []int{1, 2, moreQueue, 1, moreQueue + 1, moreQueue, 1} {
		c.out = newOutbound()
		o := c.out
		had := cap(o.more)
		for i := range count {
			c.push(unicast{wire: []byte{byte(i)}, after: c.cursor, cost: 1})
		}
		e.waiting.Add(int64(count))
		for i, u := range o.queue {
			if u.wire[0] != byte(i) {
				t.Fatalf("%d frames: frame %d is %d", count, i, u.wire[0])
			}
		}
		w.advance(c, count)
		c.settle()
		switch keeps := cap(o.more); {
		case count == 1 && keeps != had, count > 1 && count <= moreQueue && keeps != moreQueue, count > moreQueue && keeps != 0:
			t.Errorf("%d frames: an array of %d is kept", count, keeps)
		}
		for _, u := range o.more[:cap(o.more)] {
			if u.wire != nil || u.after != nil {
				t.Errorf("%d frames: one is left in the array", count)
			}
		}
	}
}
