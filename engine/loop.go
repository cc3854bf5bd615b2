package engine

import (
	"encoding/binary"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// loop is one epoll with its goroutine and all the connections it owns: their
// descriptors are read, taken out and closed here and nowhere else.
type loop struct {
	eng  *Engine
	poll *poller

	// Owned by the loop's goroutine.
	buf        []byte // receive buffer of all its connections
	spare      *reader
	replies    replies // to the WebSocket frames of the turn that runs
	answers    []byte  // to the HTTP requests of it
	writer     writer
	upgrader   *upgrader
	heads      map[*Conn][]byte // request heads that came in part
	handshakes deque[timed]     // under way or just done, oldest first
	pending    int              // handshakes under way
	lingers    deque[timed]     // closing, by deadline
	https      []*httpConn      // that it serves
	unfinished int              // of these, with a request that has come in part
	idle       *time.Timer      // for the first of these that may have been silent for too long
	listener   *acceptor        // on the first loop only
	armed      bool             // the clock ticks
	arrived    bool             // a connection has come since the last tick
	awake      bool             // see stayAwake, giveWay
	trimScan   int64            // engine clock: when to think of the memory again, if not at rest before
	stallScan  int64            // engine clock: when to look at the full sockets again
	live       int              // descriptors owned

	stalls stallList

	clock  *alarm // see arm
	wakeFD int
	turn   *turn // see giveWay

	inbox struct {
		mu      sync.Mutex
		conns   []*Conn   // to tend
		sockets []arrival // to adopt
		tasks   []func()  // to run
		closed  bool      // the loop has ended: nothing is taken, its descriptors are gone
	}
	empty chan struct{} // after drainTo: closed when no connection is left
}

// arrival is a socket for the loop, with what was read from it already.
type arrival struct {
	fd   int
	read []byte
	http bool // it comes back from the HTTP server, to be served
}

const (
	// receiveBuffer is one read's worth, and a connection's turn: a client
	// that floods with frames of a few bytes keeps the loop for well under a
	// millisecond.
	receiveBuffer = 16 << 10

	// tickTime is the clock's period while a deadline is pending.
	tickTime = 100 * time.Millisecond
)

func newLoop(e *Engine) (l *loop, err error) {
	l = &loop{
		eng: e, buf: make([]byte, receiveBuffer), spare: new(reader), writer: writer{eng: e},
		heads: make(map[*Conn][]byte),
	}
	l.stalls.loop = l
	l.upgrader = newUpgrader(l)
	if l.wakeFD, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	l.turn = newTurn(e.opts.Logger)
	if l.poll, err = newPoller(e.loopFailed); err != nil {
		l.closeSignals()
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := l.watchSignals(); err != nil {
		_ = l.poll.close()
		l.closeSignals()
		return nil, err
	}
	return l, nil
}

func (l *loop) watchSignals() (err error) {
	if err := l.poll.add(l.wakeFD, signalEvents, l.woken); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	l.clock, err = newAlarm(l.poll, l.tick)
	return err
}

// close ends the loop's goroutine and frees its descriptors. No connection may
// be left.
func (l *loop) close() {
	_ = l.poll.close() // it only fails if it is closed already
	l.inbox.mu.Lock()
	l.inbox.closed = true
	late := l.inbox.sockets
	l.inbox.mu.Unlock()
	for _, a := range late {
		l.discard(a)
	}
	l.closeSignals()
}

func (l *loop) closeSignals() {
	_ = unix.Close(l.wakeFD)
	if l.clock != nil {
		l.clock.close()
	}
	l.turn.close()
}

// post asks the loop to tend c. It never blocks.
func (l *loop) post(c *Conn) {
	l.inbox.mu.Lock()
	l.inbox.conns = append(l.inbox.conns, c)
	l.signalLocked()
}

// giveTurn lets c be tended once more, when all others have had their turn. One
// that is sent more than it is served has one turn in a round nevertheless, however
// often the epoll says that there is something.
func (l *loop) giveTurn(c *Conn) {
	if !c.again {
		c.again = true
		l.post(c)
	}
}

// hand gives the loop a socket.
func (l *loop) hand(a arrival) {
	l.inbox.mu.Lock()
	if l.inbox.closed {
		l.inbox.mu.Unlock()
		l.discard(a)
		return
	}
	l.inbox.sockets = append(l.inbox.sockets, a)
	l.signalLocked()
}

// discard closes a socket that no loop takes.
func (l *loop) discard(a arrival) {
	_ = unix.Close(a.fd)
	if a.http {
		l.eng.http.open.Add(-1)
	}
}

// run lets the loop's goroutine call f.
func (l *loop) run(f func()) {
	l.inbox.mu.Lock()
	l.inbox.tasks = append(l.inbox.tasks, f)
	l.signalLocked()
}

// signalLocked wakes the loop if the inbox was empty, and unlocks it.
func (l *loop) signalLocked() {
	first := len(l.inbox.conns)+len(l.inbox.sockets)+len(l.inbox.tasks) == 1
	if first && !l.inbox.closed {
		l.wakeUp()
	}
	l.inbox.mu.Unlock()
}

// woken empties the inbox.
func (l *loop) woken(ev readiness) {
	if ev == pollerClosed {
		return
	}
	var count [8]byte
	_, _ = unix.Read(l.wakeFD, count[:])
	l.inbox.mu.Lock()
	conns, sockets, tasks := l.inbox.conns, l.inbox.sockets, l.inbox.tasks
	l.inbox.conns, l.inbox.sockets, l.inbox.tasks = nil, nil, nil
	l.inbox.mu.Unlock()
	for _, a := range sockets {
		if a.http {
			l.resumeHTTP(a)
		} else {
			l.adopt(a)
		}
	}
	for _, c := range conns {
		c.again = false
		l.guard(c)
	}
	for _, f := range tasks {
		f()
	}
	switch {
	case l.eng.crowded():
		l.awake = true
		l.turn.yieldToAll()
		l.wakeUp()
	case l.awake:
		l.awake = false
		l.turn.yieldToAll()
	}
}

// stayAwake keeps the loop from waiting in epoll_wait while workers that sweep for
// a broadcast keep all processors busy: it takes turns with them instead, for the
// reason at giveWay. A loop that has nothing to do meanwhile has given its
// processor up already.
func (l *loop) stayAwake() {
	if l.eng.crowded() {
		l.giveWay()
	}
}

// crowded reports whether as many workers sweep as there are processors.
func (e *Engine) crowded() bool { return e.sweeps.Load() >= e.procs }

// giveWay lets everybody else run before the loop waits in epoll_wait: the workers,
// in whose queues something was put here, and whoever waits for the network. The Go
// scheduler does not know that the loop waits there, and for up to 10 ms, until its
// monitor looks, nobody else would have the loop's processor. What the epoll has
// told already is served first.
func (l *loop) giveWay() {
	if !l.awake {
		l.awake = true
		l.wakeUp()
	}
}

// wakeUp makes the epoll call woken.
func (l *loop) wakeUp() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	// It fails only when the counter is full: the loop is woken anyway.
	_, _ = unix.Write(l.wakeFD, one[:])
}

// guard tends c; a panic of the handler ends c alone.
func (l *loop) guard(c *Conn) {
	defer c.rescue()
	l.tend(c)
}

// arm starts the clock if it stands still.
func (l *loop) arm() {
	if !l.armed {
		l.armed = true
		l.clock.set(tickTime, tickTime)
	}
}

// tick looks at everything that has a deadline, and stops the clock when
// nothing has.
func (l *loop) tick() {
	now := l.eng.now()
	l.expireHandshakes(now)
	l.makeRoom(now)
	l.expireLingers(now)
	l.expirePartial(now)
	stalled := l.stalls.len()
	if timeout := l.eng.opts.WriteTimeout.Milliseconds(); stalled > 0 && now >= l.stallScan {
		l.stalls.expire(now - timeout)
		l.stallScan = now + timeout/16
	}
	waiting := l.listener != nil && l.listener.retry()
	if !l.arrived && stalled == 0 && !waiting && l.handshakes.len() == 0 && l.lingers.len() == 0 && l.unfinished == 0 {
		l.armed = false
		l.clock.set(0, 0)
		l.trimScan = now
	}
	if now >= l.trimScan {
		l.eng.trimMemory()
		l.trimScan = now + trimInterval
	}
	l.arrived = false
	l.stayAwake()
}

// adopt takes a socket over. Its request head, or the beginning of it, is as a
// rule there already (see deferAccept), so it is read before the epoll is
// asked for anything; what has come meanwhile the epoll tells when it is asked.
func (l *loop) adopt(a arrival) {
	if l.eng.stopping.Load() {
		_ = unix.Close(a.fd)
		return
	}
	c := &Conn{loop: l, fd: int32(a.fd)}
	l.live++
	l.beginHandshake(c, a.read)
	if c.is(stateGone) {
		return // it is the HTTP server's now
	}
	if err := l.poll.add(a.fd, socketEvents, c.ready); err != nil {
		l.eng.opts.Logger.Error("cannot watch a socket", "error", err)
		if c.inHandshake() {
			c.end(CloseHandshakeDropped)
			l.endHandshake()
		} else {
			c.end(CloseInternal)
		}
	}
}

// left counts one descriptor less.
func (l *loop) left() {
	l.live--
	if l.live == 0 && l.empty != nil {
		close(l.empty)
		l.empty = nil
	}
}

// drainTo closes done when the loop owns no connection any more.
func (l *loop) drainTo(done chan struct{}) {
	if l.live == 0 {
		close(done)
		return
	}
	l.empty = done
}

// abandon lets go of everything that is left, at once. What the kernel has taken
// still goes out.
func (l *loop) abandon() {
	l.dropHandshakes()
	for x, ok := l.lingers.front(); ok; x, ok = l.lingers.front() {
		l.lingers.pop()
		l.release(x.c, false)
	}
}
