package api

import (
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lingerTime and lingerBytes bound what is read away behind an answer to a
	// request whose body was not wanted. Closing with unread bytes makes the
	// kernel send a reset, which can destroy the answer on its way.
	lingerTime  = time.Second
	lingerBytes = 4 << 20

	// stopGrace is how long a request that has begun to come in may take to
	// come in whole once the server stops.
	stopGrace = 2 * time.Second
)

// listener hands fasthttp connections that can linger, that can be hurried, and
// that can all be closed: fasthttp's own shutdown leaves the busy ones alone.
//
// It also keeps room. Connections are bounded, and anyone may open one; past
// three quarters of the bound, each newcomer ends one that has never carried an
// admitted push, so that whoever merely holds connections cannot keep the
// publishers out: the oldest of those that never got an answer, else the one whose
// last is the longest ago. So a probe of /health stays.
type listener struct {
	net.Listener
	loops inPlacer // the same one; nil if it cannot have requests answered in place
	room  int      // connections from which on room is made

	closing  sync.Once
	closeErr error

	mu       sync.Mutex
	open     map[*conn]struct{}
	deadline time.Time // of hurry, zero before
	arrivals uint64

	answers atomic.Uint64 // that were written, in part or whole
}

// newListener bounds the connections of strangers to a part of most, which is
// how many ln yields at the same time; 0 is no bound.
func newListener(ln net.Listener, most int) *listener {
	loops, _ := ln.(inPlacer)
	return &listener{Listener: ln, loops: loops, room: most - most/4, open: make(map[*conn]struct{})}
}

func (l *listener) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if errors.Is(err, net.ErrClosed) {
		return nil, io.EOF // fasthttp's word for the orderly end
	}
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.arrivals++
	c := &conn{Conn: raw, from: l, arrival: l.arrivals, latest: l.deadline}
	c.known.Store(l.loops != nil && l.loops.Known(raw)) // then it is no newcomer
	var stranger *conn
	if l.room > 0 && !c.known.Load() && l.inUse() >= l.room {
		if stranger = l.leastStranger(); stranger != nil {
			delete(l.open, stranger)
		}
	}
	l.open[c] = struct{}{}
	l.mu.Unlock()
	if stranger != nil {
		_ = stranger.Conn.Close() // its worker sees that and cleans up
	}
	return c, nil
}

// inUse is how many connections count against the bound. The caller holds l.mu.
func (l *listener) inUse() int {
	if l.loops != nil {
		return l.loops.Open() - 1 // those that are served in place too; the newcomer is one
	}
	return len(l.open)
}

// leastStranger returns the connection without an admitted push that has to make
// room, or nil. The caller holds l.mu.
func (l *listener) leastStranger() (least *conn) {
	var answered uint64 // when least was
	for c := range l.open {
		if c.known.Load() {
			continue
		}
		at := c.answered.Load()
		if least == nil || at < answered || at == answered && c.arrival < least.arrival {
			least, answered = c, at
		}
	}
	return least
}

// Close can be called any number of times.
func (l *listener) Close() error {
	l.closing.Do(func() { l.closeErr = l.Listener.Close() })
	return l.closeErr
}

// hurry gives what is being read on any connection until the deadline, and
// what will be: a request that is not complete then was never accepted.
func (l *listener) hurry(deadline time.Time) {
	l.mu.Lock()
	l.deadline = deadline
	var all []*conn
	for c := range l.open {
		all = append(all, c)
	}
	l.mu.Unlock()
	for _, c := range all {
		c.hurry(deadline)
	}
}

// closeConns closes every open connection at once.
func (l *listener) closeConns() {
	l.mu.Lock()
	var all []net.Conn
	for c := range l.open {
		all = append(all, c.Conn)
	}
	l.mu.Unlock()
	for _, c := range all {
		c.Close()
	}
}

// conn is a connection of a listener.
type conn struct {
	net.Conn
	from    *listener
	arrival uint64
	known   atomic.Bool // it has carried an admitted push
	linger  atomic.Bool // set by the handler of the last request
	plain   int         // see Server.returns; the handler's

	answered atomic.Uint64 // the listener's answers when it got its last one, 0 for none

	mu     sync.Mutex
	latest time.Time // no read may last longer; zero is no bound
}

// Read and Write let others have the processor: the goroutine of a client that
// sends request upon request without waiting for the answers, or a long body in
// small pieces, would otherwise go on until it is interrupted, for 10 ms at a time.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n == len(p) { // there may be more
		runtime.Gosched()
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	c.answered.Store(c.from.answers.Add(1))
	n, err := c.Conn.Write(p)
	runtime.Gosched()
	return n, err
}

// SetReadDeadline sets a deadline no later than that of hurry.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.latest.IsZero() && (t.IsZero() || t.After(c.latest)) {
		t = c.latest
	}
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetWriteDeadline(t), c.SetReadDeadline(t))
}

func (c *conn) hurry(deadline time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latest = deadline
	_ = c.Conn.SetReadDeadline(deadline) // it fails only on a closed connection
}

func (c *conn) Close() error {
	if c.linger.CompareAndSwap(true, false) {
		c.drain()
	}
	c.from.mu.Lock()
	delete(c.from.open, c)
	c.from.mu.Unlock()
	return c.Conn.Close()
}

// drain ends our side and reads the peer's until it ends too, within bounds.
// Errors do not matter: the connection is closed next.
func (c *conn) drain() {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_ = c.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes)
}
