package engine

import (
	"encoding/binary"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// Closing is one change of state that one caller wins, under the connection's
// mu, from any goroutine: the connection leaves its shard, what still waited
// is counted as dropped, and a close frame goes out. The rest, up to the
// descriptor's close, is its loop's.

// lingerTime is how long, in milliseconds, a peer may take to read our close
// frame and end its side before the socket is closed regardless.
const lingerTime = 2000

// end closes c for a reason of the engine's.
func (c *Conn) end(r CloseReason) { c.endWith(r, closeReasons[r].code, closeReasons[r].text) }

// endWith closes c with a close frame of this code and text; code 0 sends an
// empty one.
func (c *Conn) endWith(r CloseReason, code ws.StatusCode, text string) {
	c.mu.Lock()
	c.closeLocked(r, code, text)
	c.mu.Unlock()
}

// closeLocked is endWith for a caller that holds c.mu; code 0 with a reason
// that has a code uses the reason's.
func (c *Conn) closeLocked(r CloseReason, code ws.StatusCode, text string) {
	if c.state >= stateClosing {
		return
	}
	e := c.loop.eng
	open := c.state == stateOpen
	c.state, c.reason = stateClosing, r
	e.stats.closed[r].Add(1)
	if open {
		e.shards[c.shard].remove(c)
		e.open.Add(-1)
		c.leave(r, closeFrame(r, code, text))
	}
	c.loop.post(c)
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

// leave settles what an open connection still lacked: when the engine stops it
// still goes out, ahead of the close frame; otherwise it is dropped, but for
// the rest of a frame that the socket took in part.
func (c *Conn) leave(r CloseReason, closing []byte) {
	e := c.loop.eng
	var tail []byte
	leaving, dropped := 0, 0
	for b := c.backlog(); ; {
		wire, _ := b.next()
		if wire == nil {
			break
		}
		if r == CloseStopping {
			tail = append(tail, wire...)
			leaving++
		} else {
			dropped++
		}
	}
	if o := c.out; o != nil {
		if len(o.rest) > 0 {
			leaving++
		}
		e.waiting.Add(-int64(o.queued))
		clear(o.queue)
		o.queue, o.head, o.queued = nil, 0, 0
	}
	c.cursor = nil
	if closing == nil { // nobody is there to read anything
		e.stats.dropped[r].Add(int64(dropped + leaving))
		return
	}
	e.stats.dropped[r].Add(int64(dropped))
	o := c.outbox()
	o.leaving, o.closing = leaving, closing
	if len(tail) > 0 {
		// A copy: the rest is part of a frame that others share.
		o.rest = append(o.rest[:len(o.rest):len(o.rest)], tail...)
	}
	if !c.blocked {
		c.flushRest()
	}
}

// flushRest sends what is left of a closing connection. The caller holds c.mu.
func (c *Conn) flushRest() {
	e := c.loop.eng
	for o := c.out; !c.flushed(); {
		if len(o.rest) == 0 {
			e.stats.framesOut.Add(int64(o.leaving))
			o.rest, o.closing, o.leaving = o.closing, nil, 0
		}
		n, errno := sendNow(int(c.fd), o.rest)
		if errno != 0 && errno != unix.EAGAIN {
			o.rest, o.closing = nil, nil // nobody is there to read it
			e.stats.dropped[c.reason].Add(int64(o.leaving))
			return
		}
		e.stats.bytesOut.Add(int64(n))
		o.rest = o.rest[n:]
		if len(o.rest) > 0 {
			c.blocked = true
			if n > 0 || o.progress == 0 {
				o.progress = e.now()
			}
			return
		}
	}
}

// flushed reports whether nothing is left to send. The caller holds c.mu.
func (c *Conn) flushed() bool {
	return c.out == nil || len(c.out.rest) == 0 && len(c.out.closing) == 0
}

// linger is a closing connection that its loop looks at again.
type linger struct {
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
		c.receive(readable) // its turn again after maxReads
		return
	case state != stateClosing:
		return
	case reason == CloseGone || reason == CloseHandshakeGone || reason == CloseHandshakeTimeout || reason == CloseHandshakeDropped:
		l.release(c, false)
		return
	case l.discard(c):
		l.release(c, false)
		return
	case reason == ClosePeer && flushed:
		// Both close frames have passed: the server ends the TCP connection
		// first (RFC 6455 section 7.1.1).
		l.release(c, false)
		return
	}
	if !c.lingering {
		c.lingering = true
		l.lingers.push(linger{c, l.eng.now() + lingerTime})
		l.arm()
	}
	if flushed && !c.halfClosed {
		c.halfClosed = true
		// A failure means that the peer is gone; the next read says so.
		_ = unix.Shutdown(int(c.fd), unix.SHUT_WR)
	}
}

// discard reads and throws away; it reports whether the peer's side has ended.
func (l *loop) discard(c *Conn) bool {
	for range maxReads {
		n, errno := recvNow(int(c.fd), l.buf)
		if errno == unix.EAGAIN {
			return false
		}
		if errno != 0 || n == 0 {
			return true
		}
	}
	l.post(c)
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
		// What was accepted before a stop may take as long as it moves on;
		// Shutdown's own deadline bounds it.
		moving := c.reason == CloseStopping && !flushed && now-c.out.progress < l.eng.opts.WriteTimeout.Milliseconds()
		c.mu.Unlock()
		switch {
		case gone:
		case moving:
			l.lingers.push(linger{c, now + lingerTime})
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
	if o := c.out; o != nil {
		l.eng.waiting.Add(-int64(o.restCost))
		if len(o.rest) > 0 {
			l.eng.stats.dropped[c.reason].Add(int64(o.leaving))
		}
		c.settle()
	}
	c.in = nil
	delete(l.heads, c)
	l.poll.remove(int(c.fd))
	if reset {
		resetOnClose(int(c.fd))
	}
	_ = unix.Close(int(c.fd)) // the descriptor is gone whatever it returns
	l.left()
}
