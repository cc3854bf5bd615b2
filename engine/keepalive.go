package engine

import (
	"sync"
	"time"

	"github.com/gobwas/ws"
)

// keepalive pings silent connections and closes those that stay silent,
// without a timer for any of them: one goroutine walks all connections round
// after round, a slice at each tick of a coarse clock, which also spreads the
// pings of connections that fell silent together.
type keepalive struct {
	eng  *Engine
	tick time.Duration

	silent uint32 // ticks of silence before a ping
	pong   uint32 // ticks that a pinged connection has to answer

	// Owned by run.
	pinged deque[ping]
	shard  int // the walk's position: this shard, its connections below pos
	pos    int

	stop chan struct{}
	done sync.WaitGroup
}

// ping is a ping that was sent.
type ping struct {
	c  *Conn
	at uint32 // clock
}

// pinged marks Conn.seen: a ping is out, and no byte has come since.
const pinged = 1 << 31

const (
	// ticksPerInterval sets the clock: fine enough that a ping is late by a
	// few percent of the interval at most.
	ticksPerInterval = 64
	// ticksPerRound is how many ticks one walk over all connections takes.
	ticksPerRound = 8
)

func newKeepalive(e *Engine) *keepalive {
	tick := max(min(e.opts.PingInterval/ticksPerInterval, e.opts.PongTimeout/4), time.Millisecond)
	return &keepalive{
		eng: e, tick: tick, stop: make(chan struct{}),
		silent: ticks(e.opts.PingInterval, tick), pong: ticks(e.opts.PongTimeout, tick),
	}
}

// ticks is d in ticks, rounded up.
func ticks(d, tick time.Duration) uint32 { return uint32((d + tick - 1) / tick) }

// since is the time from a clock reading to now in ticks; the clock wraps
// around below pinged.
func since(now, then uint32) uint32 { return (now - then) & (pinged - 1) }

// start runs the walk until halt.
func (k *keepalive) start() {
	k.done.Add(1)
	go k.run()
}

// halt ends the walk and waits for it.
func (k *keepalive) halt() {
	close(k.stop)
	k.done.Wait()
}

func (k *keepalive) run() {
	defer k.done.Done()
	t := time.NewTicker(k.tick)
	defer t.Stop()
	for {
		select {
		case <-k.stop:
			return
		case <-t.C:
		}
		now := (k.eng.clock.Load() + 1) & (pinged - 1) // nobody else changes it
		k.eng.clock.Store(now)
		k.expire(now)
		k.walk(now)
	}
}

// expire closes those that were pinged long enough ago and sent nothing since.
func (k *keepalive) expire(now uint32) {
	for p, ok := k.pinged.front(); ok && since(now, p.at) > k.pong; p, ok = k.pinged.front() {
		k.pinged.pop()
		if before := since(p.at, p.c.seen.Load()); before > 0 && before < pinged/2 {
			p.c.end(CloseSilent)
		}
	}
}

// walk visits the next part of all connections: an eighth, so that a round
// takes ticksPerRound ticks whatever their number.
func (k *keepalive) walk(now uint32) {
	e := k.eng
	quota := int(e.open.Load())/ticksPerRound + 1
	var slice [sweepSlice]*Conn
	for shards := 0; quota > 0 && shards <= len(e.shards); {
		s := e.shards[k.shard]
		s.mu.Lock()
		if k.pos > len(s.conns) {
			k.pos = len(s.conns)
		}
		from := max(0, k.pos-min(sweepSlice, quota))
		n := copy(slice[:], s.conns[from:k.pos])
		s.mu.Unlock()
		for _, c := range slice[:n] {
			// A ping that is not answered yet is not repeated.
			seen := c.seen.Load()
			if since(now, seen) >= k.silent && seen&pinged == 0 && c.ping() {
				// A byte that has come meanwhile is the answer already.
				c.seen.CompareAndSwap(seen, seen|pinged)
				k.pinged.push(ping{c, now})
			}
		}
		quota -= n
		if k.pos = from; from == 0 {
			k.shard = (k.shard + 1) % len(e.shards)
			k.pos = 1 << 30 // from its last connection on
			shards++
		}
	}
}

// pingFrame is an empty ping (RFC 6455 section 5.5.2).
var pingFrame = appendHeader(nil, ws.OpPing, 0)

// ping sends a ping unless the socket is full, when the peer has yet to read.
func (c *Conn) ping() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != stateOpen || c.blocked {
		return false
	}
	c.sendOwn(pingFrame, len(pingFrame))
	c.loop.eng.stats.pings.Add(1)
	return true
}
