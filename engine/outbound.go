package engine

import (
	"math"
	"sync"
	"sync/atomic"
	"unsafe"
)

// outbound is what waits for one connection's socket. It exists only while
// something does.
type outbound struct {
	rest   []byte  // what the socket has not yet taken of a frame it took in part
	restOf unicast // that frame, if it is for this connection, without its wire

	queue  []unicast // frames for this connection, oldest first
	head   int       // queue[head:] still waits
	queued int       // bytes of queue[head:]

	closing []byte // the last thing to go out: a close frame, or a refusal
	last    bool   // rest is that one

	progress int64 // engine clock: when the socket last took a byte, or filled

	// Index in the loop's list of full sockets; -1 if not on it. Written under
	// the list's lock: taking one off the list moves another. Whether it is on the
	// list changes under the connection's mu alone.
	stallPos atomic.Int32

	one  [1]unicast // the queue's first array: most are that short
	more []unicast  // its second, empty, kept for reuse: nil or of moreQueue
}

// moreQueue is how many frames a queue that outgrows its first array has room for.
const moreQueue = 8

// unicast is a frame for one connection, with its place among the broadcasts.
type unicast struct {
	wire  []byte
	after *entry // the newest broadcast when it was accepted: that one goes first
	cost  int    // what it counts for in the engine's waiting bytes, beside share
	share *share // with others that the frame goes to; nil if there are none
}

// share is the bytes of a frame that goes to several connections. They are in
// memory, and count, until the last of these has it or is gone: the upper half is
// how many wait for it, the lower what is still counted.
type share struct{ atomic.Uint64 }

func newShare(conns, bytes int) *share {
	s := new(share)
	s.Store(uint64(conns)<<32 | uint64(bytes))
	return s
}

// leave is for one connection that waits for the frame no more, and returns what
// counts no more: all of it with the last one. With give a connection takes a part
// along that is as large as that of the others, for if a whole crowd holds the
// memory that is wanted, not all of it shall be closed.
func (s *share) leave(give bool) (freed int) {
	for {
		old := s.Load()
		if part, last := partOf(old); give || last {
			freed = part
		}
		if s.CompareAndSwap(old, old-1<<32-uint64(freed)) {
			return freed
		}
	}
}

// part is what counts of the frame for each connection that waits for it.
func (s *share) part() int {
	part, _ := partOf(s.Load())
	return part
}

// partOf is the part of each at some moment, and whether there is one alone.
func partOf(share uint64) (part int, last bool) {
	conns, bytes := share>>32, share&math.MaxUint32
	return int(bytes / conns), conns == 1
}

// itemCost is what a queued frame costs beside its bytes.
const itemCost = 64

// release returns by how much the engine's waiting bytes are less when u waits
// for its connection no more, which closes for r, if that is not closeNone.
func (u unicast) release(r CloseReason) (freed int) {
	if u.share != nil {
		freed = u.share.leave(r == CloseOverload)
	}
	return u.cost + freed
}

// holds is what u counts for, with its part of what is shared.
func (u unicast) holds() int {
	if u.share == nil {
		return u.cost
	}
	return u.cost + u.share.part()
}

var outboundPool = sync.Pool{New: func() any { return new(outbound) }}

func newOutbound() *outbound {
	o := outboundPool.Get().(*outbound)
	o.queue = o.one[:0]
	o.stallPos.Store(-1)
	return o
}

func (o *outbound) free() {
	more := o.more
	if cap(o.queue) == moreQueue {
		more = o.queue[:0]
	}
	*o = outbound{more: more} // nothing is left in the queue's array, see advance
	outboundPool.Put(o)
}

// outgrow moves the queue to its second array.
func (o *outbound) outgrow() {
	if o.more == nil {
		o.more = make([]unicast, 0, moreQueue)
	}
	o.queue = append(o.more, o.queue...)
	o.more, o.one = nil, [1]unicast{}
}

// backlog walks what a connection still lacks, in the order in which it was
// accepted: broadcasts from the cursor on, and each unicast right after the
// last broadcast that was accepted before it.
type backlog struct {
	cursor *entry
	queue  []unicast
}

func (c *Conn) backlog() backlog {
	if c.cursor == nil {
		return backlog{} // not open yet, or closing without it
	}
	b := backlog{cursor: c.cursor}
	if c.out != nil {
		b.queue = c.out.queue[c.out.head:]
	}
	return b
}

// next returns the next frame, and where it waits unless it is a broadcast; wire
// is nil at the end.
func (b *backlog) next() (wire []byte, u *unicast) {
	if b.cursor == nil {
		return nil, nil
	}
	if len(b.queue) > 0 && b.queue[0].after.seq <= b.cursor.seq {
		u := &b.queue[0]
		b.queue = b.queue[1:]
		return u.wire, u
	}
	if e := b.cursor.next.Load(); e != nil {
		b.cursor = e
		return e.wire, nil
	}
	return nil, nil
}

// endOfLog is the cursor of connections that get no broadcasts any more.
var endOfLog = &entry{seq: math.MaxUint64}

// leaveLog puts the broadcasts that c still lacks into its queue: what is
// broadcast from now on does not concern it, and is not held for its sake. The
// caller holds c.mu.
func (c *Conn) leaveLog() {
	b := c.backlog()
	var queue []unicast
	var queued, more int
	for wire, at := b.next(); wire != nil; wire, at = b.next() {
		u := unicast{wire: wire, cost: itemCost} // of a broadcast: its bytes are in the log, or in the queues of others too
		if at != nil {
			u = *at
		} else {
			more += itemCost
		}
		u.after = endOfLog
		queue = append(queue, u)
		queued += len(wire)
	}
	c.cursor = endOfLog
	if len(queue) > 0 {
		o := c.outbox()
		o.queue, o.head, o.queued = queue, 0, queued
		c.loop.eng.waiting.Add(int64(more))
	}
}

// outbox returns c.out, made if need be. The caller holds c.mu.
func (c *Conn) outbox() *outbound {
	if c.out == nil {
		c.out = newOutbound()
	}
	return c.out
}

// enqueue lets a frame wait for c. Its cost is already in the engine's waiting
// count. It reports false if c is not open any more.
func (c *Conn) enqueue(u unicast) bool {
	c.mu.Lock()
	if c.state != stateOpen {
		c.mu.Unlock()
		return false
	}
	c.push(u)
	if !c.blocked && c.overdue() {
		// The worker lags behind the publishers, not the client behind the
		// worker: the publisher does this connection's writing.
		c.loop.eng.withWriter(func(w *writer) { w.drain(c) })
	}
	if c.state == stateOpen && c.blocked && c.overdue() {
		c.closeLocked(CloseSlow, 0, "")
	}
	wake := c.state == stateOpen && !c.blocked && !c.dirty && c.out != nil
	if wake {
		c.dirty = true
	}
	s := c.loop.eng.shards[c.shard]
	c.mu.Unlock()
	if wake {
		s.wakeFor(c)
	}
	return true
}

// fetch begins to load from memory what enqueue needs besides c.
func (c *Conn) fetch() {
	if !c.mu.TryLock() {
		return // somebody sends: it comes that way
	}
	prefetch(unsafe.Pointer(unsafe.StringData(c.token)))
	if c.out != nil {
		prefetch(unsafe.Pointer(c.out))
		prefetch(unsafe.Pointer(&c.out.queued))
	}
	c.mu.Unlock()
}

// push appends to c's queue. The caller holds c.mu.
func (c *Conn) push(u unicast) {
	o := c.outbox()
	if o.head > 0 && 2*o.head >= len(o.queue) {
		// What has gone out makes room: a client that always lags a little
		// has a queue as long as its lag.
		n := copy(o.queue, o.queue[o.head:])
		clear(o.queue[n:])
		o.queue, o.head = o.queue[:n], 0
	}
	if len(o.queue) == cap(o.queue) && cap(o.queue) == len(o.one) {
		o.outgrow()
	}
	o.queue = append(o.queue, u)
	o.queued += len(u.wire)
}

// overdue reports whether more waits for c than one connection may hold. The
// frame that the socket took in part does not count: one message may always
// be on its way. The caller holds c.mu.
func (c *Conn) overdue() bool {
	waits := c.loop.eng.log.tail.Load().end - c.cursor.end
	if c.out != nil {
		waits += uint64(c.out.queued)
	}
	return waits > uint64(c.loop.eng.opts.MaxPendingBytes)
}

// resume goes on where a full socket stopped. The caller holds c.mu.
func (c *Conn) resume() {
	c.blocked = false
	w := &c.loop.writer
	w.drain(c)
	w.report()
}

// block notes that c's socket is full; an OUT edge will follow. progress says
// whether it took something just now. The caller holds c.mu.
func (c *Conn) block(progress bool) {
	o := c.outbox()
	c.blocked = true
	if progress || o.stallPos.Load() < 0 {
		o.progress = c.loop.eng.now()
	}
	if o.stallPos.Load() < 0 {
		c.loop.stalls.add(c, o)
	}
}

// settle forgets the outbox when nothing is in it. The caller holds c.mu.
func (c *Conn) settle() {
	if o := c.out; o != nil {
		c.loop.stalls.remove(o)
		c.out = nil
		o.free()
	}
}

// lose is for a socket that takes nothing any more because its peer is gone:
// whatever is left for it is dropped. The caller holds c.mu.
func (c *Conn) lose() {
	c.closeLocked(CloseGone, 0, "")
	c.drop(c.reason)
}

// drop gives up everything that waits for c and counts it. It returns how many
// waiting bytes are less for it. The caller holds c.mu; c is not open any more.
func (c *Conn) drop(r CloseReason) (freed int) {
	if o := c.out; o != nil && len(o.rest) > 0 && !o.last {
		freed = o.restOf.release(r)
		c.loop.eng.waiting.Add(-int64(freed))
		c.loop.eng.stats.dropped[r].Add(1)
	}
	freed += c.dropBacklog(r)
	c.settle()
	return freed
}

// dropBacklog gives up the messages that have not begun to go out. It returns
// how many waiting bytes are less for it. The caller holds c.mu.
func (c *Conn) dropBacklog(r CloseReason) (freed int) {
	frames := int64(0)
	b := c.backlog()
	for wire, u := b.next(); wire != nil; wire, u = b.next() {
		frames++
		if u != nil {
			freed += u.release(r)
		}
	}
	c.cursor = nil
	if o := c.out; o != nil {
		clear(o.queue)
		o.queue, o.head, o.queued = nil, 0, 0
	}
	c.loop.eng.waiting.Add(-int64(freed))
	c.loop.eng.stats.dropped[r].Add(frames)
	return freed
}
