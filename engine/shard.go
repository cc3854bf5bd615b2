package engine

import (
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
)

// shard is one stripe of the connections, with its own lock and its own
// outbound worker. A token's hash picks the shard; connections without a token
// are spread by descriptor.
type shard struct {
	eng   *Engine
	slice int // connections that the worker serves before it yields

	mu     sync.Mutex // guards roster, sweep, and the Conn fields that say so
	roster            // the connections
	sweep  int        // conns[:sweep] have not been visited for the running broadcasts

	work     sync.Mutex // guards what the worker waits for
	wake     sync.Cond  // on work
	dirty    []*Conn    // connections with something in their queue
	behind   bool       // the broadcast log has grown since the last sweep began
	stopping bool       // end once nothing is left to do

	swept atomic.Uint64 // position in the broadcast log that every conn has reached
	since atomic.Int64  // engine clock: when the worker took a list of several slices from dirty; 0: it has none
	done  chan struct{} // closed when the worker has ended
}

const (
	// sweepSlice is how many connections the workers of one core serve, all
	// together, before each has looked at its queue again and the network has been
	// looked at: at a few microseconds a write, a push behind a broadcast waits
	// for about half a millisecond to be read, and as long again to be sent.
	sweepSlice = 64

	// leastSlice bounds what the looking costs, where shards are many.
	leastSlice = 8
)

func newShard(e *Engine) *shard {
	s := &shard{eng: e, done: make(chan struct{})}
	s.slice = min(max(leastSlice, sweepSlice*e.opts.Loops/e.opts.Shards), sweepSlice) // there are as many loops as cores
	s.wake.L = &s.work
	return s
}

// placeOf is the hash of c under token, whose shard it tells.
func (e *Engine) placeOf(c *Conn, token string) uint64 {
	if token != "" {
		return e.hash(token)
	}
	return uint64(c.fd) * 0x9e3779b97f4a7c15 // Knuth's multiplicative hash
}

// assign puts c, which is in no shard, into the shard of token. The caller
// holds c.mu.
func (e *Engine) assign(c *Conn, token string) {
	hash := e.placeOf(c, token)
	s := e.shards[e.shardIndex(hash)]
	s.mu.Lock()
	s.enter(c, token, hash)
	s.mu.Unlock()
	s.catchUp(c)
}

// move puts c from its shard into that of token, in one step: who looks for both
// tokens at once finds it under one of them. The caller holds c.mu.
func (e *Engine) move(c *Conn, token string) {
	hash := e.placeOf(c, token)
	from, to := c.shard, e.shardIndex(hash)
	both := slices.Compact([]uint32{min(from, to), max(from, to)})
	e.lockShards(both)
	e.shards[from].leave(c)
	e.shards[to].enter(c, token, hash)
	e.unlockShards(both)
	e.shards[to].catchUp(c)
}

// lockShards locks several, whose indexes are sorted: all who do that do it in
// the same order.
func (e *Engine) lockShards(all []uint32) {
	for _, i := range all {
		e.shards[i].mu.Lock()
	}
}

func (e *Engine) unlockShards(all []uint32) {
	for _, i := range all {
		e.shards[i].mu.Unlock()
	}
}

// enter takes c in. The caller holds c.mu and mu.
func (s *shard) enter(c *Conn, token string, hash uint64) {
	c.token, c.hash, c.shard = token, uint32(hash), s.eng.shardIndex(hash)
	s.roster.insert(c)
}

// catchUp has the worker look at c, which is new: a broadcast may have swept the
// shard before c was in it, or have left c for a later slice of the shard it came
// from. The caller holds c.mu.
func (s *shard) catchUp(c *Conn) {
	if c.cursor.next.Load() != nil && !c.blocked && !c.dirty {
		c.dirty = true
		s.wakeFor(c)
	}
}

// remove takes c out. The caller holds c.mu.
func (s *shard) remove(c *Conn) {
	s.mu.Lock()
	s.leave(c)
	s.mu.Unlock()
}

// leave is remove for a caller that holds mu too.
func (s *shard) leave(c *Conn) {
	// The last connection fills the gap. It has been visited by a running
	// sweep, which goes downwards, unless none has: then sweep shrinks too.
	s.roster.remove(c)
	s.sweep = min(s.sweep, len(s.conns))
}

// matching appends the connections of token to dst.
func (s *shard) matching(dst []*Conn, hash uint32, token string) []*Conn {
	s.mu.Lock()
	dst = s.matchingLocked(dst, hash, token)
	s.mu.Unlock()
	return dst
}

func (s *shard) matchingLocked(dst []*Conn, hash uint32, token string) []*Conn {
	for c := s.find(hash, token); c != nil; c = s.following(c) {
		dst = append(dst, c)
	}
	return dst
}

// fetch begins to load the connection of a token from memory, and returns it; nil
// if there is none.
func (s *shard) fetch(hash uint32) *Conn {
	s.mu.Lock()
	c := s.likely(hash)
	s.mu.Unlock()
	if c != nil {
		prefetch(unsafe.Pointer(c))
		prefetch(unsafe.Pointer(&c.hash))
	}
	return c
}

// wakeFor puts c on the worker's list. The caller has set c.dirty.
func (s *shard) wakeFor(c *Conn) {
	s.work.Lock()
	s.dirty = append(s.dirty, c)
	s.work.Unlock()
	s.wake.Signal()
}

// wakeForBroadcast tells the worker that the log has grown.
func (s *shard) wakeForBroadcast() {
	s.work.Lock()
	s.behind = true
	s.work.Unlock()
	s.wake.Signal()
}

// stop lets the worker finish what there is and then end; done tells when.
func (s *shard) stop() {
	s.work.Lock()
	s.stopping = true
	s.work.Unlock()
	s.wake.Signal()
}

// run is the worker, with its turn. It ends after stop.
func (s *shard) run(t *turn) {
	defer close(s.done)
	defer t.close()
	w := &writer{eng: s.eng}
	var batch []*Conn
	var target *entry // what the running sweep brings every connection up to
	for {
		s.work.Lock()
		for len(s.dirty) == 0 && !s.behind && target == nil {
			if s.stopping {
				s.work.Unlock()
				return
			}
			s.wake.Wait()
		}
		batch, s.dirty = s.dirty, batch[:0]
		begin := target == nil && s.behind
		if begin {
			s.behind = false // before the log's end is read: what comes later sets it again
		}
		s.work.Unlock()
		if begin {
			target = s.startSweep()
			s.eng.sweeps.Add(1)
		}

		s.flush(w, t, batch)
		if target != nil && s.sweepOn(w) {
			s.swept.Store(target.end)
			target = nil
			s.eng.sweeps.Add(-1)
		}
		w.report()
		if cap(batch) > 4096 {
			batch = nil // a burst's array is not kept
		}
		if target != nil {
			t.yield() // publishers and loops share the processor
		}
	}
}

// flush serves the connections of a batch, whose places it clears, in slices.
// Between them it holds no lock: a worker that the Go scheduler interrupts is in
// the middle of a send, and whoever has something for the same connection then
// waits until it goes on.
func (s *shard) flush(w *writer, t *turn, batch []*Conn) {
	for i, c := range batch {
		if i > 0 && i%s.slice == 0 {
			if i == s.slice {
				s.since.Store(max(1, s.eng.now()))
			}
			t.yield()
		}
		w.flush(c, true)
		batch[i] = nil
	}
	if len(batch) > s.slice {
		s.since.Store(0)
	}
}

// lag is for how long, in milliseconds, a worker has been at a list of several
// slices that it has not finished at now, engine clock.
func (e *Engine) lag(now uint64) (most uint64) {
	for _, s := range e.shards {
		if since := s.since.Load(); since > 0 {
			most = max(most, now-min(now, uint64(since)))
		}
	}
	return most
}

// startSweep begins a round over all connections.
func (s *shard) startSweep() *entry {
	target := s.eng.log.tail.Load()
	s.mu.Lock()
	s.sweep = len(s.conns)
	s.mu.Unlock()
	return target
}

// sweepOn serves the next slice of connections. It reports whether the round
// is over. The round goes from the last connection down to the first: those
// that arrive meanwhile land behind it, and are up to date already.
func (s *shard) sweepOn(w *writer) bool {
	var slice [sweepSlice]*Conn
	s.mu.Lock()
	from := max(0, s.sweep-s.slice)
	n := copy(slice[:], s.conns[from:s.sweep])
	s.sweep = from
	s.mu.Unlock()
	for _, c := range slice[:n] {
		w.flush(c, false)
	}
	return from == 0
}
