package engine

import (
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Errors of Send, Broadcast and Schedule. Nothing of the message is delivered
// when one of them is returned.
var (
	// ErrSaturated: more bytes wait for sockets than MaxTotalPendingBytes.
	ErrSaturated = errors.New("engine: too many bytes are waiting to be sent")
	// errNeverFits: the message by itself is more than MaxTotalPendingBytes.
	// Waiting does not help.
	errNeverFits = fmt.Errorf("%w: this message alone is more than the bound", ErrSaturated)
	// ErrStopping: Shutdown has begun.
	ErrStopping = errors.New("engine: stopping")
	// ErrTooMany: MaxDelayed messages are waiting for their time.
	ErrTooMany = errors.New("engine: too many delayed messages are waiting")
)

// Engine moves frames between tokens and sockets. Make one with Listen, run it
// with Start, end it with Shutdown.
type Engine struct {
	// Immutable after Listen.
	opts    Options
	handler Handler
	addr    net.Addr
	began   time.Time
	seed    maphash.Seed
	loops   []*loop
	shards  []*shard
	http    *httpListener
	delayed *delayed
	keep    *keepalive // nil without pings

	log       broadcastLog
	writers   sync.Pool      // *writer, for goroutines that have none
	relieving sync.Mutex     // held by the one that frees waiting bytes; the others do not wait for it
	trims     sync.WaitGroup // see trimMemory
	trimmedAt atomic.Int64   // connections then

	open     atomic.Int64  // WebSocket connections
	waiting  atomic.Int64  // bytes of unicasts and replies that wait for sockets
	partial  atomic.Int64  // bytes of inbound messages that are not complete
	clock    atomic.Uint32 // keepalive ticks, below pinged; stands still without pings
	stopping atomic.Bool
	stats    counters

	started bool // owned by the caller of Start and Shutdown
}

// Listen makes an engine and binds its port; connections wait in the kernel
// until Start. An error of the port wraps the errno (syscall.EADDRINUSE).
func Listen(opts Options, h Handler) (*Engine, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	e := &Engine{opts: opts, handler: h, began: time.Now(), seed: maphash.MakeSeed()}
	e.log.init()
	e.clock.Store(1)
	e.writers.New = func() any { return &writer{eng: e} }
	fd, addr, err := bindListener(opts.Addr)
	if err != nil {
		return nil, err
	}
	e.addr, e.http, e.delayed = addr, newHTTPListener(addr), newDelayed(e)
	for range opts.Shards {
		e.shards = append(e.shards, newShard(e))
	}
	if opts.PingInterval > 0 {
		e.keep = newKeepalive(e)
	}
	for range opts.Loops {
		l, err := newLoop(e)
		if err != nil {
			e.closeLoops()
			_ = unix.Close(fd)
			return nil, err
		}
		e.loops = append(e.loops, l)
	}
	first := e.loops[0]
	first.listener = &acceptor{loop: first, fd: fd}
	return e, nil
}

// Start serves. It returns at once.
func (e *Engine) Start() error {
	e.started = true
	for _, s := range e.shards {
		go s.run() // ends after shard.stop, closes shard.done
	}
	e.delayed.start()
	if e.keep != nil {
		e.keep.start()
	}
	a := e.loops[0].listener
	if err := a.loop.poll.add(a.fd, listenerEvents, a.ready); err != nil {
		return fmt.Errorf("watch the listening socket: %w", err)
	}
	return nil
}

// Addr is the address that the engine listens on.
func (e *Engine) Addr() net.Addr { return e.addr }

// HTTP yields the connections whose first request the handler did not claim,
// from their first byte on.
func (e *Engine) HTTP() net.Listener { return e.http }

// now is the engine's clock in milliseconds since Listen; it never jumps.
func (e *Engine) now() int64 { return int64(time.Since(e.began) / time.Millisecond) }

func (e *Engine) hash(token string) uint64 { return maphash.String(e.seed, token) }

// shardIndex picks a shard by the upper half of a hash; the lower half places
// the token within it.
func (e *Engine) shardIndex(hash uint64) uint32 {
	return uint32((hash >> 32) * uint64(len(e.shards)) >> 32)
}

// withWriter lends f a writer.
func (e *Engine) withWriter(f func(*writer)) {
	w := e.writers.Get().(*writer)
	f(w)
	w.report()
	e.writers.Put(w)
}

// Send queues f for every connection that is open under token now, and says
// how many those are.
func (e *Engine) Send(token string, f Frame) (matched int, err error) {
	matched, err = e.send(token, f)
	return matched, e.counted(err)
}

// counted counts a refusal for want of room.
func (e *Engine) counted(err error) error {
	if errors.Is(err, ErrSaturated) || errors.Is(err, ErrTooMany) {
		e.stats.saturated.Add(1)
	}
	return err
}

func (e *Engine) send(token string, f Frame) (matched int, err error) {
	if e.stopping.Load() {
		return 0, ErrStopping
	}
	if f.Len() == 0 {
		return 0, nil // the zero Frame: nothing to send
	}
	hash := e.hash(token)
	var few [8]*Conn
	conns := e.shards[e.shardIndex(hash)].matching(few[:0], uint32(hash), token)
	if len(conns) == 0 {
		e.stats.unicasts.Add(1)
		return 0, nil
	}
	// The frame is shared: together its connections hold it once.
	cost := (f.Len()+len(conns)-1)/len(conns) + itemCost
	need := int64(cost) * int64(len(conns))
	if need > e.opts.MaxTotalPendingBytes {
		return 0, errNeverFits // nobody is closed for it
	}
	if !e.reserve(need) {
		return 0, ErrSaturated
	}
	e.stats.unicasts.Add(1)
	u := unicast{wire: f.wire, after: e.log.tail.Load(), cost: cost}
	for _, c := range conns {
		if c.enqueue(u) {
			matched++
		} else {
			e.waiting.Add(-int64(cost))
		}
	}
	return matched, nil
}

// Broadcast queues f for every connection that is open now, and says how many
// those are.
func (e *Engine) Broadcast(f Frame) (matched int, err error) {
	matched, err = e.broadcast(f)
	return matched, e.counted(err)
}

func (e *Engine) broadcast(f Frame) (matched int, err error) {
	if e.stopping.Load() {
		return 0, ErrStopping
	}
	if f.Len() == 0 {
		return 0, nil // the zero Frame: nothing to send
	}
	if int64(f.Len()) > e.opts.MaxTotalPendingBytes {
		return 0, errNeverFits
	}
	if !e.log.append(f, uint64(e.opts.MaxTotalPendingBytes), e.swept) {
		return 0, ErrSaturated
	}
	matched = int(e.open.Load())
	e.stats.broadcasts.Add(1)
	for _, s := range e.shards {
		s.wakeForBroadcast()
	}
	return matched, nil
}

// swept is the position in the broadcast log that every connection has
// reached, but for those whose sockets are full.
func (e *Engine) swept() uint64 {
	least := ^uint64(0)
	for _, s := range e.shards {
		least = min(least, s.swept.Load())
	}
	return least
}

// Schedule lets f wait until due, when it goes to whoever is open under token
// then, "" for everybody. stamp is the offset in the payload of 13 digits that
// are overwritten with the time of sending, in milliseconds since the epoch;
// -1 for none.
func (e *Engine) Schedule(due time.Time, token string, f Frame, stamp int) error {
	if e.stopping.Load() {
		return ErrStopping
	}
	if stamp >= 0 {
		stamp = f.payloadLen() - stamp // from the end: the header's length varies
		if stamp < stampDigits {
			return errors.New("engine: the stamp lies outside the payload")
		}
	}
	wait := max(0, due.Sub(e.began)) // of the longest Duration at most
	at := uint64(wait / time.Millisecond)
	if wait%time.Millisecond > 0 {
		at++ // never early
	}
	if int64(f.Len()) > e.opts.MaxTotalPendingBytes {
		return e.counted(errNeverFits)
	}
	if err := e.delayed.add(at, pack(token, f, stamp)); err != nil {
		return e.counted(err)
	}
	e.stats.scheduled.Add(1)
	return nil
}

// loopFailed is told when an epoll breaks, which no input can cause.
func (e *Engine) loopFailed(err error) {
	e.opts.Logger.Error("an event loop has failed", "error", err)
}

func (e *Engine) closeLoops() {
	for _, l := range e.loops {
		l.close()
	}
}

// handshakesPerLoop is each loop's part of MaxHandshakes.
func (e *Engine) handshakesPerLoop() int { return max(1, e.opts.MaxHandshakes/len(e.loops)) }
