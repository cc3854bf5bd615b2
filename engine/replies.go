package engine

import (
	"slices"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// replies are frames that one connection's messages of a turn are answered with:
// they go out in one write. A client that sends a thousand pings at once gets as
// many pongs, for the price of one.
type replies struct {
	to   *Conn
	wire []byte // one frame behind the other
	ends []int  // of each frame, in wire
}

// Reply sends one message to this connection alone. payload may be reused
// afterwards. It may be called only from Handler.Message, for the connection that
// the message is from.
func (c *Conn) Reply(op ws.OpCode, payload []byte) {
	r := &c.loop.replies
	if r.to != nil && r.to != c { // against the rule: nobody shall get what is another's
		r.send()
	}
	r.to = c
	r.wire = append(appendHeader(r.wire, op, len(payload)), payload...)
	r.ends = append(r.ends, len(r.wire))
	if len(r.wire) >= maxJoin {
		r.send()
	}
}

// send sends what has come together: at the end of a turn, and ahead of a close
// frame. Only the loop's goroutine calls it.
func (r *replies) send() {
	if r.to == nil {
		return
	}
	c := r.to
	c.mu.Lock()
	if c.state == stateOpen {
		c.sendOwn(r.wire, r.ends...)
	}
	c.mu.Unlock()
	r.to, r.wire, r.ends = nil, r.wire[:0], r.ends[:0]
	if cap(r.wire) > maxScratch {
		r.wire = nil
	}
}

// sendOwn writes frames that only this connection gets, of which ends tells where
// each ends in wire: at once, ahead of what a worker has yet to send, unless the
// socket is full. wire may be reused afterwards. The caller holds c.mu; c is open.
func (c *Conn) sendOwn(wire []byte, ends ...int) {
	e := c.loop.eng
	sent := 0
	if !c.blocked {
		n, errno := sendNow(int(c.fd), wire)
		if errno != 0 && errno != unix.EAGAIN {
			c.lose()
			return
		}
		e.stats.bytesOut.Add(int64(n))
		whole, cut := slices.BinarySearch(ends, n)
		if cut {
			whole++
		}
		e.stats.framesOut.Add(int64(whole))
		if whole == len(ends) {
			return
		}
		if whole > 0 {
			sent = ends[whole-1]
		}
		ends = ends[whole:]
		if n > sent { // the next one went out in part
			o := c.outbox()
			o.rest, o.restOf = slices.Clone(wire[n:ends[0]]), unicast{cost: ends[0] - sent + itemCost}
			e.waiting.Add(int64(o.restOf.cost))
			sent, ends = ends[0], ends[1:]
		}
		c.block(n > 0)
		if len(ends) == 0 {
			return // one may always be on its way
		}
	}
	for _, end := range ends {
		u := unicast{wire: slices.Clone(wire[sent:end]), after: c.cursor, cost: end - sent + itemCost}
		e.waiting.Add(int64(u.cost))
		c.push(u)
		sent = end
	}
	switch {
	case c.overdue():
		c.closeLocked(CloseSlow, 0, "")
	case e.waiting.Load() > e.opts.MaxTotalPendingBytes:
		c.closeLocked(CloseOverload, 0, "")
	}
}
