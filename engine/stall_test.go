package engine

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A client that does not read is closed past its own bound, with a reason; the
// others get everything.
func TestSlowClientHarmsOnlyItself(t *testing.T) {
	for _, kind := range []string{"unicast", "broadcast"} {
		t.Run(kind, func(t *testing.T) {
			s := serve(t, scripted{}, func(o *Options) { o.MaxPendingBytes = 256 << 10 })
			slow, good := s.dialStalled("slow"), s.dial("good")
			big := strings.Repeat("x", 32<<10)
			sent := 0
			await(t, "the slow one is closed", func() bool {
				if s.Stats().Closed["slow_consumer"] == 1 {
					return true
				}
				if kind == "broadcast" {
					if _, err := s.Broadcast(textFrame(big)); err != nil {
						t.Fatal(err)
					}
				} else {
					s.send("good", big, 1)
					if _, err := s.Send("slow", textFrame(big)); err != nil {
						t.Fatal(err)
					}
				}
				sent++
				wantText(t, good, big)
				return false
			})
			if d := s.Stats().Dropped["slow_consumer"]; d == 0 || d > int64(sent) {
				t.Errorf("%d messages counted as dropped of %d", d, sent)
			}
			wantClose(t, slow, 1008) // what it was given is whole, and then the reason
			s.broadcast("still there", 1)
			wantText(t, good, "still there")
			await(t, "nothing waits", func() bool { return s.Stats().WaitingBytes == 0 })
		})
	}
}

// Past the bound of all connections the one that holds most goes first.
func TestTotalBoundClosesTheSlowestFirst(t *testing.T) {
	const limit = 4 << 20
	s := serve(t, scripted{}, func(o *Options) {
		o.MaxPendingBytes, o.MaxTotalPendingBytes = 3<<20, limit
	})
	worst, lesser, good := s.dialStalled("worst"), s.dialStalled("lesser"), s.dial("good")
	s.fill("worst", s.conn("worst"))
	s.fill("lesser", s.conn("lesser"))
	big := strings.Repeat("x", 64<<10)
	for range 40 {
		s.send("worst", big, 1)
	}
	for s.Stats().Closed["overload"] == 0 {
		s.send("lesser", big, 1)
		if w := s.Stats().WaitingBytes; w > limit {
			t.Fatalf("%d bytes wait, past the bound", w)
		}
	}
	wantClose(t, worst, 1013)
	s.send("lesser", "kept", 1)
	s.send("good", "unharmed", 1)
	wantText(t, good, "unharmed")
	for {
		_, p, err := lesser.ReadMessage()
		if err != nil {
			t.Fatalf("the lesser one: %v", err)
		}
		if string(p) == "kept" {
			break
		}
	}
	if c := s.Stats().Closed["overload"]; c != 1 {
		t.Errorf("%d connections closed for overload", c)
	}
	await(t, "nothing waits", func() bool { return s.Stats().WaitingBytes == 0 })
}

// A message that could never fit is refused at nobody's cost.
func TestMessageOverTheTotalBoundEvictsNobody(t *testing.T) {
	s := serve(t, scripted{}, func(o *Options) { o.MaxTotalPendingBytes = 1 << 20 })
	stalled := s.dialStalled("stalled")
	s.dial("crowd")
	s.dial("crowd")
	c := s.conn("stalled")
	s.fill("stalled", c)
	s.send("stalled", "waits", 1)
	n, err := s.Send("crowd", textFrame(strings.Repeat("x", 1100<<10)))
	if n != 0 || !errors.Is(err, ErrSaturated) {
		t.Errorf("Send = %d, %v", n, err)
	}
	if n, err := s.Broadcast(textFrame(strings.Repeat("x", 2<<20))); n != 0 || !errors.Is(err, ErrSaturated) {
		t.Errorf("Broadcast = %d, %v", n, err)
	}
	if closed := s.Stats().Closed; len(closed) != 0 {
		t.Errorf("closed: %v", closed)
	}
	for {
		_, p, err := stalled.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if string(p) == "waits" {
			break
		}
	}
}

// A frame that many connections of a token wait for is in memory once, and
// counts once: a crowd must not make a message undeliverable.
func TestSharedFrameCountsOnce(t *testing.T) {
	const conns, size = 64, 100 << 10
	e := withoutSockets(1)
	e.opts.MaxTotalPendingBytes = 2 * size
	for fd := range conns {
		e.enterFull(fd, "crowd")
	}
	if n, err := e.Send("crowd", textFrame(strings.Repeat("x", size))); n != conns || err != nil {
		t.Fatalf("Send = %d, %v", n, err)
	}
	if w := e.waiting.Load(); w < size || w > size+conns*(itemCost+1)+FrameHeadroom {
		t.Errorf("%d bytes wait for a frame of %d", w, size)
	}
}

// A crowd whose sockets are full holds a frame once: to make room for the next
// one, only so many are closed as hold what is missing.
func TestRelievingACrowdClosesFew(t *testing.T) {
	const conns, size = 64, 100 << 10
	e := fullCrowd(conns, "crowd")
	e.opts.MaxTotalPendingBytes = 2 * size
	for i := range 8 {
		if n, err := e.Send("crowd", textFrame(strings.Repeat("x", size))); n == 0 || err != nil {
			t.Fatalf("send %d = %d, %v", i, n, err)
		}
	}
	if closed := e.stats.closed[CloseOverload].Load(); closed == 0 || closed == conns {
		t.Errorf("%d of %d are closed", closed, conns)
	}
}

// Those who hold the rest of a large message, and nothing else, make room too.
func TestRelievingTakesTheRestOfAMessage(t *testing.T) {
	const size = 100 << 10
	e := fullCrowd(2, "slow")
	e.opts.MaxTotalPendingBytes = 3 * size
	for _, c := range e.shards[0].conns {
		c.out.rest, c.out.restOf = make([]byte, size), unicast{cost: size + itemCost}
		e.waiting.Add(int64(c.out.restOf.cost))
	}
	e.enterFull(7, "other")
	if n, err := e.Send("other", textFrame(strings.Repeat("x", size))); n != 1 || err != nil {
		t.Errorf("Send = %d, %v", n, err)
	}
	if closed, dropped := e.stats.closed[CloseOverload].Load(), e.stats.dropped[CloseOverload].Load(); closed != 1 || dropped != 1 {
		t.Errorf("%d closed, %d messages dropped", closed, dropped)
	}
}

// fullCrowd is an engine without sockets and n connections of one token, all of
// them on the list of full sockets.
func fullCrowd(n int, token string) *Engine {
	e := withoutSockets(1)
	l := e.loops[0]
	l.stalls.loop = l
	for fd := range n {
		c := e.enterFull(fd, token)
		l.stalls.add(c, c.outbox())
	}
	return e
}

// Clients that are closed in the middle of a large frame hold the one copy of
// it that all share: closing many at once must not multiply it.
func TestClosingDoesNotCopyTheFrame(t *testing.T) {
	const size, conns = 1 << 20, 64
	wire := make([]byte, size)
	closing := closeFrame(CloseSlow, 0, "")
	var all []*Conn
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range conns {
		c, _ := bareConn()
		c.outbox().rest = wire[1:]
		c.blocked = true
		c.settleBacklog(CloseSlow, closing)
		all = append(all, c)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > size {
		t.Errorf("closing %d connections allocated %d bytes", conns, n)
	}
	runtime.KeepAlive(all)
}

// A socket that takes nothing is closed after WriteTimeout, however little
// waits for it.
func TestStalledSocketIsClosed(t *testing.T) {
	s := serve(t, scripted{}, func(o *Options) { o.WriteTimeout, o.PingInterval = 300*time.Millisecond, 0 })
	stalled := s.dialStalled("stalled")
	await(t, "the clocks stand still", func() (still bool) {
		still = true
		for _, l := range s.loops {
			onLoop(l, func() { still = still && !l.armed })
		}
		return still
	})
	s.fill("stalled", s.conn("stalled"))
	await(t, "closed as stalled", func() bool { return s.Stats().Closed["write_stalled"] == 1 })
	_ = stalled // it stays, and reads nothing
	await(t, "its bytes are free", func() bool { return s.Stats().WaitingBytes == 0 })
	s.dial("other")
	s.send("other", "served", 1)
}

// Stalled sockets leave the list when they drain, wherever they stood in it.
func TestStallListKeepsItsPlaces(t *testing.T) {
	var list stallList
	list.loop = &loop{wakeFD: -1}
	var conns [20]*Conn
	var outs [20]*outbound
	check := func(in map[int]bool) {
		t.Helper()
		if list.len() != len(in) {
			t.Fatalf("%d on the list, want %d", list.len(), len(in))
		}
		for i := range conns {
			if pos := outs[i].stallPos.Load(); in[i] != (pos >= 0) || in[i] && (list.conns[pos] != conns[i] || list.outs[pos] != outs[i]) {
				t.Fatalf("connection %d: in %v, position %d", i, in[i], pos)
			}
		}
	}
	in := make(map[int]bool)
	for i := range conns {
		conns[i], outs[i] = new(Conn), newOutbound()
	}
	for round := range 200 {
		i := round * 7 % len(conns)
		if in[i] {
			list.remove(outs[i])
			delete(in, i)
		} else {
			list.add(conns[i], outs[i])
			in[i] = true
		}
		list.remove(outs[(i+1)%len(outs)])
		delete(in, (i+1)%len(outs))
		check(in)
	}
}

// One who has a large message in part, with something small behind it, makes as
// much room as it holds: nobody else is closed for that.
func TestRelievingTakesTheRestWithWhatWaitsBehindIt(t *testing.T) {
	const size, conns = 100 << 10, 8
	e := fullCrowd(conns, "slow")
	e.writers.New = func() any { return &writer{eng: e} }
	e.opts.MaxTotalPendingBytes = (conns + 1) * size
	for _, c := range e.shards[0].conns {
		c.mu.Lock()
		c.out.rest, c.out.restOf = make([]byte, size), unicast{cost: size + itemCost}
		e.waiting.Add(int64(c.out.restOf.cost) + 100)
		c.push(unicast{wire: make([]byte, 36), after: e.log.tail.Load(), cost: 100})
		c.mu.Unlock()
	}
	e.enterFull(conns, "other")
	for i := range 2 {
		if n, err := e.Send("other", textFrame(strings.Repeat("x", size))); n != 1 || err != nil {
			t.Errorf("push %d: %d, %v", i, n, err)
		}
	}
	if n := e.stats.closed[CloseOverload].Load(); n == 0 || n > 3 { // an eighth of the bound is freed beyond what is missing
		t.Errorf("%d closed for two messages", n)
	}
}

// A frame that several wait for counts until the last of them has it.
func TestSharedFrameCountsToTheLast(t *testing.T) {
	const size = 100 << 10
	e := fullCrowd(3, "crowd")
	w := &writer{eng: e}
	f := textFrame(strings.Repeat("x", size))
	if n, err := e.Send("crowd", f); n != 3 || err != nil {
		t.Fatalf("Send = %d, %v", n, err)
	}
	for i, c := range slices.Clone(e.shards[0].conns) {
		if waiting := e.waiting.Load(); waiting < size {
			t.Errorf("%d bytes wait for the last %d of three", waiting, 3-i)
		}
		c.mu.Lock()
		if w.advance(c, f.Len()/2); i == 1 {
			c.closeLocked(CloseGone, 0, "")
		} else {
			w.advance(c, f.Len()-f.Len()/2)
		}
		c.mu.Unlock()
	}
	if waiting := e.waiting.Load(); waiting != 0 {
		t.Errorf("%d bytes wait for nobody", waiting)
	}
}

// Publishers that make room take connections off the list while their loops do.
func TestRelievingBesideTheLoop(t *testing.T) {
	for range 10 {
		relieveBesideTheLoop(t)
	}
}

func relieveBesideTheLoop(t *testing.T) {
	const n, size = 2000, 1000
	e := fullCrowd(n, "slow")
	e.writers.New = func() any { return &writer{eng: e} }
	e.opts.MaxTotalPendingBytes = 2 * n * size
	conns := slices.Clone(e.shards[0].conns)
	for i, c := range conns {
		c.out.rest, c.out.restOf = make([]byte, size), unicast{cost: size + i}
		e.waiting.Add(int64(c.out.restOf.cost))
	}
	var both sync.WaitGroup
	both.Go(func() { // as the loop: every second socket takes all that it lacks
		for i := 0; i < n; i += 2 {
			c := conns[i]
			c.mu.Lock()
			if c.out != nil {
				e.waiting.Add(-int64(c.out.restOf.release(closeNone)))
				c.out.rest, c.blocked = nil, false
				c.settle()
			}
			c.mu.Unlock()
		}
	})
	both.Go(func() { e.relieve(10 * n * size) })
	both.Wait()
	if waiting := e.waiting.Load(); waiting != 0 || e.loops[0].stalls.len() != 0 {
		t.Errorf("%d bytes wait, %d are on the list", waiting, e.loops[0].stalls.len())
	}
}

// Those are closed first whose end frees most: not those that share what they wait
// for with many, nor those that have a broadcast in part, which is in the log.
func TestRelievingAsksWhatIsFreed(t *testing.T) {
	const size, crowd = 100 << 10, 64
	for _, tt := range []struct {
		name string
		fill func(t *testing.T, e *Engine)
	}{
		{"a crowd", func(t *testing.T, e *Engine) {
			if n, err := e.Send("crowd", textFrame(strings.Repeat("x", size))); n != crowd || err != nil {
				t.Fatalf("Send = %d, %v", n, err)
			}
		}},
		{"broadcasts in part", func(t *testing.T, e *Engine) {
			for _, c := range e.shards[0].conns {
				c.mu.Lock()
				c.outbox().rest = make([]byte, 10*size)
				c.mu.Unlock()
			}
			if n, err := e.Send("crowd", textFrame("x")); n != crowd || err != nil {
				t.Fatalf("Send = %d, %v", n, err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := fullCrowd(crowd, "crowd")
			e.writers.New = func() any { return &writer{eng: e} }
			tt.fill(t, e)
			hog := e.enterFull(crowd, "hog")
			e.loops[0].stalls.add(hog, hog.outbox())
			e.enterFull(crowd+1, "other")
			e.opts.MaxTotalPendingBytes = e.waiting.Load() + size
			for _, push := range []struct {
				to    string
				bytes int
			}{{"hog", size * 9 / 10}, {"other", size / 5}} {
				if n, err := e.Send(push.to, textFrame(strings.Repeat("x", push.bytes))); n != 1 || err != nil {
					t.Fatalf("to %s: %d, %v", push.to, n, err)
				}
			}
			if n := e.stats.closed[CloseOverload].Load(); n != 1 || hog.state == stateOpen {
				t.Errorf("%d closed, the one that holds most is open: %v", n, hog.state == stateOpen)
			}
		})
	}
}

// Whose memory is not what is wanted is told why it is closed.
func TestOverloadIsTold(t *testing.T) {
	e := fullCrowd(1, "a")
	c := e.shards[0].conns[0]
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.rest = make([]byte, 1000) // of a broadcast
	c.push(unicast{wire: make([]byte, 36), after: e.log.tail.Load(), cost: 100})
	e.waiting.Add(100)
	if freed := c.closeLocked(CloseOverload, 0, ""); freed != 100 || c.out == nil || c.out.closing == nil {
		t.Errorf("%d bytes freed, no close frame", freed)
	}
}
