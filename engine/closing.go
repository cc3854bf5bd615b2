package engine

import (
	"encoding/binary"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// Closing is one change of state that one caller wins, under the connection's
// mu, from any goroutine: the connection leaves its shard, what still waited
// is dropped and counted (a stop lets it out first), and a close frame goes
// out. The rest, up to the descriptor's close, is its loop's.

// lingerTime is how long, in milliseconds, a peer may take to read our close
// frame and end its side before the socket is closed regardless.
const lingerTime = 2000

// end closes c for a reason of the engine's.
func (c *Conn) end(r CloseReason) { c.endWith(r, 0, "") }

// endWith closes c with a close frame of this code and text. Code 0 stands for
// the reason's own code and text; for ClosePeer, for an empty frame. It reports
// whether the connection was not closing already.
func (c *Conn) endWith(r CloseReason, code ws.StatusCode, text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	open := c.state < stateClosing
	c.closeLocked(r, code, text)
	return open
}

// closeLocked is endWith for a caller that holds c.mu. It returns how many waiting
// bytes are less for it.
func (c *Conn) closeLocked(r CloseReason, code ws.StatusCode, text string) (freed int) {
	if c.state >= stateClosing {
		return 0
	}
	e := c.loop.eng
	open := c.state == stateOpen
	c.state, c.reason = stateClosing, r
	e.stats.closed[r].Add(1)
	if open {
		e.shards[c.shard].remove(c)
		e.open.Add(-1)
		freed = c.settleBacklog(r, closeFrame(r, code, text))
	}
	c.loop.post(c)
	return freed
}

// closeFrame encodes the close frame for a reason, nil if the peer is gone.
func closeFrame(r CloseReason, code ws.StatusCode, text string) []byte {
	if code == 0 {
		if r != ClosePeer {
			code, text = closeReasons[r].code, closeReasons[r].text
			if code == 0 {
				return nil
			}
		} else {
			return appendHeader(nil, ws.OpClose, 0) // the peer's had no code either
		}
	}
	f := appendHeader(make([]byte, 0, 4+len(text)), ws.OpClose, 2+len(text))
	f = binary.BigEndian.AppendUint16(f, uint16(code))
	return append(f, text...)
}

// settleBacklog decides on what an open connection still lacks: for some reasons
// all of it goes out ahead of the close frame; otherwise it is dropped, but for
// the rest of a message that the socket took in part. It returns how many waiting
// bytes are less for it. The caller holds c.mu.
func (c *Conn) settleBacklog(r CloseReason, closing []byte) (freed int) {
	if closing == nil || // nobody is there to read anything
		r == CloseOverload && c.out != nil && c.out.restOf.cost > 0 && len(c.out.rest) > c.out.queued { // the rest is the memory that is wanted
		return c.drop(r)
	}
	if r.settles() {
		c.leaveLog()
	} else {
		freed = c.dropBacklog(r)
	}
	c.outbox().closing = closing
	if !c.blocked {
		c.loop.eng.withWriter(func(w *writer) { w.drain(c) })
	}
	return freed
}

// flushed reports whether nothing is left to send. The caller holds c.mu.
func (c *Conn) flushed() bool { return c.out == nil }

// timed is a connection that its loop looks at again at the deadline: one that
// shakes hands, or one that closes.
type timed struct {
	c        *Conn
	deadline int64 // engine clock
}

// tend moves a closing connection on: it throws away what the peer still
// sends, ends our side once everything is sent, and lets go of the socket when
// the peer has ended too. The loop's goroutine alone runs it.
func (l *loop) tend(c *Conn) {
	c.mu.Lock()
	state, reason, flushed := c.state, c.reason, c.flushed()
	c.mu.Unlock()
	switch {
	case state == stateOpen:
		c.receive(readable) // its turn again
		return
	case state != stateClosing:
		return
	case reason == CloseGone || reason == CloseHandshakeGone || reason == CloseHandshakeTimeout || reason == CloseHandshakeDropped:
		l.release(c, false)
		return
	case l.readOn(c):
		l.release(c, false)
		return
	case c.peerClosed && flushed:
		// Both close frames have passed: the server ends the TCP connection
		// first (RFC 6455 section 7.1.1).
		l.release(c, false)
		return
	}
	if !c.lingering {
		c.lingering = true
		l.lingers.push(timed{c, l.eng.now() + lingerTime})
		l.arm()
	}
	if flushed && !c.halfClosed {
		c.halfClosed = true
		// A failure means that the peer is gone; the next read says so.
		_ = unix.Shutdown(int(c.fd), unix.SHUT_WR)
	}
}

// readOn reads what a closing connection still gets, of which only the peer's
// close frame counts. It reports whether the peer's side has ended.
func (l *loop) readOn(c *Conn) bool {
	n, errno := recvNow(int(c.fd), l.buf)
	switch {
	case errno == unix.EAGAIN:
		return false
	case errno != 0 || n == 0:
		return true
	}
	if !c.peerClosed && !c.deaf {
		c.peerClosed = c.findClose(l.buf[:n])
	}
	l.giveTurn(c) // there may be more
	return false
}

// findClose looks for a close frame in what the peer of a closing connection
// sends. A violation ends the wait as well.
func (c *Conn) findClose(data []byte) bool {
	if c.in == nil {
		c.in = new(reader)
	}
	held := c.in.held()
	for len(data) > 0 {
		f, n, err := c.in.next(data, c.loop.eng.opts.MaxMessageBytes)
		if err != nil || f.ok && f.op == ws.OpClose {
			c.account(c.in, held)
			c.forget(c.in)
			return true
		}
		data = data[n:]
	}
	c.account(c.in, held)
	return false
}

// expireLingers lets go of the closing connections whose time is up.
func (l *loop) expireLingers(now int64) {
	for {
		x, ok := l.lingers.front()
		if !ok || x.deadline > now {
			return
		}
		l.lingers.pop()
		c := x.c
		c.mu.Lock()
		gone, flushed := c.state == stateGone, c.flushed()
		slow := c.reason == CloseSlow || c.reason == CloseStalled || c.reason == CloseSilent || c.reason == CloseOverload
		// What was accepted before may take as long as it moves on; a stop has
		// Shutdown's deadline besides.
		moving := c.reason.settles() && !flushed && now-c.out.progress < l.eng.opts.WriteTimeout.Milliseconds()
		c.mu.Unlock()
		switch {
		case gone:
		case moving:
			l.lingers.push(timed{c, now + lingerTime})
		default:
			l.release(c, slow || !flushed)
		}
	}
}

// release gives the descriptor back: out of the epoll first, then closed, both
// on the loop's goroutine. reset drops what the kernel still holds.
func (l *loop) release(c *Conn, reset bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == stateGone {
		return
	}
	c.state = stateGone
	c.drop(c.reason)
	if c.in != nil {
		c.forget(c.in)
	}
	delete(l.heads, c)
	l.poll.remove(int(c.fd))
	if reset {
		resetOnClose(int(c.fd))
	}
	_ = unix.Close(int(c.fd)) // the descriptor is gone whatever it returns
	l.left()
}
