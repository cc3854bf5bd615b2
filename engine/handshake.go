package engine

import (
	"bytes"
	"errors"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// beginHandshake reads the request head of a new connection, as far as it has
// come, after the bytes that were read of it already. What is missing then has
// one deadline.
func (l *loop) beginHandshake(c *Conn, read []byte) {
	l.pending++
	l.readFirst(c, read)
	if c.inHandshake() {
		l.handshakes.push(timed{c, l.eng.now() + l.eng.opts.HandshakeTimeout.Milliseconds()})
		l.skipFinished()
	}
	l.arrived = true
	l.arm() // for the deadline, and for the memory that handshakes leave behind
}

// readFirst is the first look at a connection; a panic of the handler ends c
// alone.
func (l *loop) readFirst(c *Conn, read []byte) {
	defer c.rescue()
	if v, _ := judgeHead(read, l.eng.handler.Claims); v == headForeign {
		// The HTTP server has read it as a handshake: it would give it back again.
		l.refuse(c, &Refusal{statusBadRequest, "malformed request line"})
		return
	}
	if len(read) == 0 || !l.takeHead(c, read) {
		l.readHead(c, 0)
	}
}

// handshakeGrace is how long, in milliseconds, a handshake under way need not
// make room for others: when everybody comes back at once there are many, and
// none of them is slow.
const handshakeGrace = 1000

// makeRoom drops the oldest handshakes under way while there are too many.
func (l *loop) makeRoom(now int64) {
	timeout := l.eng.opts.HandshakeTimeout.Milliseconds()
	for l.pending > l.eng.handshakesPerLoop() {
		x, ok := l.handshakes.front()
		if began := x.deadline - timeout; !ok || now-began < handshakeGrace {
			return
		}
		x.c.end(CloseHandshakeDropped)
		l.endHandshake()
	}
}

// endHandshake counts one handshake less, whatever came of it.
func (l *loop) endHandshake() {
	l.pending--
	l.skipFinished()
}

// skipFinished drops finished handshakes from the front of the queue, so that
// it is as short as the number under way and not as long as the deadline.
func (l *loop) skipFinished() {
	for x, ok := l.handshakes.front(); ok && !x.c.inHandshake(); x, ok = l.handshakes.front() {
		l.handshakes.pop()
	}
}

func (c *Conn) inHandshake() bool { return c.is(stateHandshake) }

// expireHandshakes ends those whose head is not complete in time.
func (l *loop) expireHandshakes(now int64) {
	for x, ok := l.handshakes.front(); ok && x.deadline <= now; x, ok = l.handshakes.front() {
		if x.c.inHandshake() {
			x.c.end(CloseHandshakeTimeout)
			l.pending--
		}
		l.handshakes.pop()
	}
}

// dropHandshakes ends all handshakes under way: the engine stops.
func (l *loop) dropHandshakes() {
	for x, ok := l.handshakes.front(); ok; x, ok = l.handshakes.front() {
		if x.c.inHandshake() {
			x.c.end(CloseHandshakeDropped)
			l.pending--
		}
		l.handshakes.pop()
	}
}

// readHead collects the request head and acts on it once it can be judged.
func (l *loop) readHead(c *Conn, ev readiness) {
	for {
		n, errno := recvNow(int(c.fd), l.buf)
		if errno == unix.EAGAIN {
			return
		}
		if errno != 0 || n == 0 {
			c.end(CloseHandshakeGone)
			l.endHandshake()
			return
		}
		full := n == len(l.buf) || ev&hungUp != 0 // more may be there already
		if l.takeHead(c, l.buf[:n]) {
			if full && c.is(stateOpen) {
				c.receive(ev)
			}
			return
		}
		if !full {
			return
		}
	}
}

// takeHead takes bytes of a request head and acts once it can be judged. It
// reports whether it has.
func (l *loop) takeHead(c *Conn, data []byte) bool {
	before := l.heads[c]
	if before != nil {
		data = append(before, data...)
	}
	verdict, size := judgeHead(data, l.eng.handler.Claims)
	if verdict == headPartial {
		if before == nil {
			data = append([]byte(nil), data...)
		}
		l.heads[c] = data
		return false
	}
	delete(l.heads, c)
	switch verdict {
	case headForeign:
		l.handOff(c, data)
	case headTooLong:
		l.refuse(c, &Refusal{statusRequestHeaderFieldsTooLarge, "the request head is longer than 8 KiB"})
	case headComplete:
		l.upgrade(c, data[:size], data[size:])
	}
	return true
}

// upgrade answers a complete request head. tail is what came behind it: the
// first frames, perhaps.
func (l *loop) upgrade(c *Conn, head, tail []byte) {
	token, refusal := l.upgrader.judge(head)
	if refusal != nil {
		answer := refusal.wire()
		if bytes.HasPrefix(head, []byte("HEAD ")) { // RFC 9110 section 9.3.2: no body
			answer = answer[:len(answer)-refusal.bodyLen()]
		}
		l.refuseWith(c, answer)
		return
	}
	e := l.eng
	c.mu.Lock()
	if full := e.open.Add(1) > int64(e.opts.MaxConns); full || e.stopping.Load() {
		e.open.Add(-1)
		c.mu.Unlock()
		refusal := &Refusal{statusServiceUnavailable, "stopping"}
		if full {
			e.stats.full.Add(1)
			refusal.Reason = "too many connections"
		}
		l.refuse(c, refusal)
		return
	}
	c.state = stateOpen
	c.seen.Store(e.clock.Load())
	c.cursor = e.log.tail.Load()
	// In its shard before the answer is sent: a client that has the answer in
	// hand gets every push from then on. Nobody else can write before mu is
	// given up.
	e.assign(c, token)
	n, errno := sendNow(int(c.fd), l.upgrader.answer)
	// The send buffer of a new socket holds an answer many times over.
	if errno != 0 || n < len(l.upgrader.answer) {
		c.closeLocked(CloseGone, 0, "")
	} else {
		e.stats.upgraded.Add(1)
	}
	c.mu.Unlock()
	l.endHandshake()
	c.feed(tail)
}

// upgrader runs ws.Upgrader over a head that is in memory.
type upgrader struct {
	up      ws.Upgrader
	in      bytes.Reader
	answer  []byte // of the last judge
	handler Handler
	request Request
	token   string
	refusal *Refusal
}

func newUpgrader(l *loop) *upgrader {
	u := &upgrader{handler: l.eng.handler}
	u.up = ws.Upgrader{
		ReadBufferSize: maxHead, // the whole head in one pooled buffer
		OnBeforeUpgrade: func() (ws.HandshakeHeader, error) {
			token, err := u.handler.Open(&u.request)
			if err != nil {
				if !errors.As(err, &u.refusal) {
					u.refusal = refusedInternal
				}
				return nil, err
			}
			u.token = token
			return nil, nil
		},
	}
	return u
}

// Read and Write make the upgrader the io.ReadWriter that ws.Upgrader works on.
func (u *upgrader) Read(p []byte) (int, error) { return u.in.Read(p) }

func (u *upgrader) Write(p []byte) (int, error) {
	u.answer = append(u.answer, p...)
	return len(p), nil
}

// judge decides on a complete head. Without a refusal, answer is the 101.
func (u *upgrader) judge(head []byte) (token string, refusal *Refusal) {
	u.answer, u.token, u.refusal = u.answer[:0], "", nil
	odd, refused := readRequest(head, &u.request)
	if refused != nil {
		return "", refused
	}
	if odd {
		head = plainUpgrade(head)
	}
	u.in.Reset(head)
	_, err := u.up.Upgrade(u)
	u.in.Reset(nil)
	if err == nil {
		return u.token, nil
	}
	if u.refusal != nil {
		return "", u.refusal
	}
	status := statusBadRequest
	var rejected *ws.ConnectionRejectedError
	if errors.As(err, &rejected) && rejected.StatusCode() != statusHTTPVersionNotSupported {
		status = rejected.StatusCode()
	}
	return "", &Refusal{status, err.Error()}
}
