package engine

import (
	"encoding/binary"
	"math"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// connState is where a connection is in its life. It only ever grows.
type connState uint8

const (
	stateHandshake connState = iota // collecting the request head
	stateOpen                       // upgraded, in a shard
	stateClosing                    // out of its shard; the close frame is on its way
	stateGone                       // its descriptor is no longer ours
)

// Conn is one WebSocket connection. While it is idle it has no goroutine, no
// buffer and no timer; this struct, a slot in its shard and one in its loop's
// epoll are all there is.
type Conn struct {
	// Immutable.
	loop *loop
	fd   int32

	// Atomic: the keepalive clock when the last byte came in, and pinged.
	seen atomic.Uint32

	// Owned by the loop.
	again      bool    // its next turn is in the loop's inbox already
	lingering  bool    // on the loop's list of closing connections
	halfClosed bool    // our side of a closing connection has ended
	peerClosed bool    // the peer's close frame has come
	deaf       bool    // closing, and where the peer's next frame starts is not known
	rate       rate    // inbound frames of the running second
	in         *reader // an incomplete frame or message; nil when idle

	// Guarded by mu.
	mu      sync.Mutex
	cursor  *entry    // the last broadcast this connection was given
	out     *outbound // what waits for the socket; nil when nothing does
	state   connState
	reason  CloseReason
	blocked bool // the socket is full: an OUT edge goes on
	dirty   bool // on a worker's list

	// Changed under mu and the shard's mu; either is enough to read.
	hash       uint32 // of token
	shard      uint32 // index of the shard
	here       place  // in the shard's roster; guarded by the shard's mu alone
	token      string // "" for none
	prev, next place  // others of the same token; guarded by the shard's mu alone
}

func (c *Conn) is(s connState) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == s
}

// ready is the epoll callback.
func (c *Conn) ready(ev readiness) {
	if ev == pollerClosed {
		return
	}
	defer c.rescue()
	c.loop.stayAwake()

	c.mu.Lock()
	state := c.state
	if ev&writable != 0 && c.blocked && state != stateGone {
		c.resume()
	}
	c.mu.Unlock()

	if c.again || ev&readable == 0 && !(ev&writable != 0 && state == stateClosing) {
		return
	}
	switch state {
	case stateHandshake:
		c.loop.readHead(c, ev)
	case stateOpen:
		c.receive(ev)
	case stateClosing:
		c.loop.tend(c)
	}
}

// rescue ends the connection whose handler panicked, and nothing else.
func (c *Conn) rescue() {
	if !c.loop.eng.recovered(recover(), "panic while serving a connection; it is closed") {
		return
	}
	c.loop.replies.send()
	c.deaf = true // what else was read is lost
	if c.inHandshake() {
		c.loop.refuse(c, refusedInternal)
		return
	}
	c.end(CloseInternal)
}

// receive reads what the socket has, at most one buffer's worth in a turn, and
// acts on it.
func (c *Conn) receive(ev readiness) {
	l := c.loop
	for {
		n, errno := recvNow(int(c.fd), l.buf)
		if errno == unix.EAGAIN {
			return
		}
		if errno != 0 || n == 0 {
			c.end(CloseGone)
			return
		}
		c.seen.Store(l.eng.clock.Load())
		if !c.feed(l.buf[:n]) {
			return
		}
		if n == len(l.buf) {
			l.giveTurn(c) // there may be more; the others have theirs first
			return
		}
		if ev&hungUp == 0 {
			return // that was all; more would be a new edge
		}
		// The stream has ended: what is left of it is short.
	}
}

// feed takes bytes of the peer. It reports false once the connection is
// closing.
func (c *Conn) feed(data []byte) bool {
	l := c.loop
	r := c.in
	if r == nil {
		r = l.spare
	}
	held := r.held()
	open, full := true, false
	for len(data) > 0 && open {
		f, n, err := r.next(data, l.eng.opts.MaxMessageBytes)
		data = data[n:]
		switch {
		case err != nil:
			l.replies.send()
			c.end(err.reason)
			open = false
		case f.ok:
			// Before the handler: if it panics, the account is right.
			full = !c.account(r, held) || full
			held = r.held()
			open = c.dispatch(f)
		}
	}
	l.replies.send()
	if (!c.account(r, held) || full) && open {
		c.end(CloseOverload)
		open = false
	}
	switch {
	case !open:
		c.forget(r)
	case r.idle():
		c.in, l.spare = nil, r
	case c.in == nil:
		c.in, l.spare = r, new(reader)
	}
	return open
}

// account counts what r holds more than before. It reports whether all
// connections together still hold no more than they may.
func (c *Conn) account(r *reader, before int) bool {
	grown := int64(r.held() - before)
	if grown == 0 {
		return true
	}
	e := c.loop.eng
	return e.partial.Add(grown) <= e.opts.MaxTotalPendingBytes || grown < 0
}

// forget drops what r, c's reader, holds of an incomplete message: c is
// closing, and what still comes cannot be followed.
func (c *Conn) forget(r *reader) {
	c.loop.eng.partial.Add(-int64(r.held()))
	*r = reader{}
	c.in, c.deaf = nil, true
}

// dispatch acts on one whole message or control frame.
func (c *Conn) dispatch(f inboundFrame) bool {
	e := c.loop.eng
	e.stats.framesIn.Add(1)
	if !c.withinRate() {
		c.loop.replies.send()
		c.end(CloseRate)
		return false
	}
	switch f.op {
	case ws.OpText, ws.OpBinary:
		e.handler.Message(c, f.op, f.payload)
	case ws.OpPing: // RFC 6455 section 5.5.2
		c.Reply(ws.OpPong, f.payload)
	case ws.OpClose:
		c.loop.replies.send()
		c.peerClosed = true
		c.closedByPeer(f.payload)
		return false
	}
	return true
}

// rate counts the frames of one second.
type rate struct{ second, count uint32 }

// add counts one frame at the given second and returns the second's count.
func (r *rate) add(second int64) int {
	if r.second != uint32(second) {
		*r = rate{second: uint32(second)}
	}
	r.count += min(1, math.MaxUint32-r.count)
	return int(r.count)
}

// withinRate counts one inbound frame against MaxMessageRate.
func (c *Conn) withinRate() bool {
	e := c.loop.eng
	return e.opts.MaxMessageRate == 0 || c.rate.add(e.now()/1000) <= e.opts.MaxMessageRate
}

// closedByPeer answers the peer's close frame (RFC 6455 sections 5.5.1, 7.4).
func (c *Conn) closedByPeer(payload []byte) {
	code := ws.StatusCode(0)
	if len(payload) >= 2 {
		code = ws.StatusCode(binary.BigEndian.Uint16(payload))
	}
	switch {
	case len(payload) == 1, len(payload) >= 2 && !ValidCloseCode(code):
		c.end(CloseProtocol)
	case len(payload) > 2 && !utf8.Valid(payload[2:]):
		c.end(CloseInvalidUTF8)
	default:
		c.endWith(ClosePeer, code, "")
	}
}

// Identify moves the connection under token, "" for none. Messages that were
// accepted for its former token still arrive. It may be called only from
// Handler.Message.
func (c *Conn) Identify(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.loop.eng
	if c.state != stateOpen || c.token == token || e.stopping.Load() { // a stop goes from shard to shard, see closeAll
		return
	}
	e.move(c, token)
}
