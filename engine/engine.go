package engine

import (
	"fmt"
	"hash/maphash"
	"net"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
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
	procs   int32 // processors that Go uses
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
	sweeps   atomic.Int32  // shards that are sweeping
	waiting  atomic.Int64  // bytes of unicasts and replies that wait for sockets
	partial  atomic.Int64  // bytes of inbound messages that are not complete
	lastKey  atomic.Uint64 // see NewKey
	clock    atomic.Uint32 // keepalive ticks, below pinged; stands still without pings
	stopping atomic.Bool
	stats    counters

	started bool // owned by the caller of Start and Shutdown
}

// Listen makes an engine, takes in what the vault holds, and binds the port;
// connections wait in the kernel until Start. An error of the port wraps the
// errno (syscall.EADDRINUSE).
func Listen(opts Options, h Handler) (*Engine, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	e := &Engine{opts: opts, handler: h, began: betweenTicks(Now()), seed: maphash.MakeSeed(), procs: int32(runtime.GOMAXPROCS(0))}
	e.log.init()
	e.clock.Store(1)
	e.writers.New = func() any { return &writer{eng: e} }
	e.delayed = newDelayed(e)
	if err := e.delayed.open(); err != nil {
		return nil, err
	}
	fd, addr, err := bindListener(opts.Addr)
	if err != nil {
		return nil, err
	}
	e.addr, e.http = addr, newHTTPListener(e, addr)
	for range opts.Shards {
		e.shards = append(e.shards, newShard(e))
	}
	if opts.PingInterval > 0 {
		e.keep = newKeepalive(e)
	}
	if err := e.openLoops(); err != nil {
		e.closeLoops()
		_ = unix.Close(fd)
		return nil, err
	}
	first := e.loops[0]
	first.listener = &acceptor{loop: first, fd: fd}
	return e, nil
}

// Start serves. It returns at once.
func (e *Engine) Start() error {
	e.started = true
	for _, s := range e.shards {
		go s.run(newTurn(e.opts.Logger)) // ends after shard.stop, closes shard.done
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

// loopFailed is told when an epoll breaks, which no input can cause.
func (e *Engine) loopFailed(err error) {
	e.opts.Logger.Error("an event loop has failed", "error", err)
}

// recovered counts a panic and logs it as msg, unless value is nil. That may hold
// what a peer sent: the stack is enough.
func (e *Engine) recovered(value any, msg string) bool {
	if value == nil {
		return false
	}
	e.stats.panics.Add(1)
	e.opts.Logger.Error(msg, "stack", string(debug.Stack()))
	return true
}

// openLoops starts the loops, the first with the alarm. On an error closeLoops
// still must be called.
func (e *Engine) openLoops() error {
	for range e.opts.Loops {
		l, err := newLoop(e)
		if err != nil {
			return err
		}
		e.loops = append(e.loops, l)
	}
	first := e.loops[0]
	var err error
	e.delayed.alarm, err = newAlarm(first.poll, func() {
		e.delayed.rouse()
		first.giveWay()
	})
	return err
}

func (e *Engine) closeLoops() {
	for _, l := range e.loops {
		l.close()
	}
	if a := e.delayed.alarm; a != nil {
		a.close()
	}
}

// handshakesPerLoop is each loop's part of MaxHandshakes.
func (e *Engine) handshakesPerLoop() int { return max(1, e.opts.MaxHandshakes/len(e.loops)) }
