package api

import (
	"errors"
	"io"
	"net"
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

// listener hands fasthttp connections that can linger, and can close all of
// them: fasthttp's own shutdown leaves the busy ones alone.
type listener struct {
	net.Listener

	closing  sync.Once
	closeErr error

	mu   sync.Mutex
	open map[*conn]struct{}
}

func newListener(ln net.Listener) *listener {
	return &listener{Listener: ln, open: make(map[*conn]struct{})}
}

func (l *listener) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if errors.Is(err, net.ErrClosed) {
		return nil, io.EOF // fasthttp's word for the orderly end
	}
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, from: l}
	l.mu.Lock()
	l.open[c] = struct{}{}
	l.mu.Unlock()
	return c, nil
}

// Close can be called any number of times.
func (l *listener) Close() error {
	l.closing.Do(func() { l.closeErr = l.Listener.Close() })
	return l.closeErr
}

// hurry gives what is being read on any connection until the deadline: a
// request that is not complete then was never accepted.
func (l *listener) hurry(deadline time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		_ = c.SetReadDeadline(deadline) // it fails only on a closed connection
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
	from   *listener
	linger atomic.Bool // set by the handler of the last request
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
