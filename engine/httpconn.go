package engine

import (
	"time"

	"golang.org/x/sys/unix"
)

// Answer answers requests of HTTP where the bytes are: on the loop, without a
// goroutine a connection. read is what a connection has sent, from the first
// byte of a request on. If it answers the request, it appends the answer to dst
// and returns the length of the request as n. It must not block, and must not
// keep read.
type Answer func(read, dst []byte) (n int, out []byte, v Verdict)

// Verdict is what an Answer says of a request.
type Verdict uint8

const (
	Foreign  Verdict = iota // nothing was done: the connection goes to the HTTP server, with these bytes
	Partial                 // more of it is needed: it is asked again, with all of it
	Answered                // and what follows it is the next request
	Last                    // answered, and the connection ends behind the answer
)

const (
	// partialRequest is the longest beginning of a request that the loop keeps,
	// and partialTime how long, in milliseconds. The HTTP server has more
	// patience.
	partialRequest = receiveBuffer
	partialTime    = 1000

	// idleLeast is for how long, in milliseconds, nothing has come on a connection
	// that makes room for another.
	idleLeast = 1000
)

// httpConn is a connection of HTTP's that its loop serves, as long as Answer
// answers all that comes. Only the loop's goroutine touches it.
type httpConn struct {
	loop    *loop
	fd      int    // -1 once it has left
	place   int    // in loop.https
	known   bool   // a request of it has been answered
	again   bool   // its next turn is in the loop's inbox already
	partial []byte // the beginning of a request
	since   int64  // engine clock: when something came last; of a partial request, first
}

// serveHTTP serves a socket that belongs to HTTP. It is in no epoll; read was
// read from it already.
func (l *loop) serveHTTP(fd int, read []byte, known bool) {
	h := &httpConn{loop: l, fd: fd, place: len(l.https), known: known}
	l.https = append(l.https, h)
	defer h.rescue()
	if !h.feed(read) {
		return
	}
	if err := l.poll.add(fd, socketEvents, h.ready); err != nil {
		l.eng.opts.Logger.Error("cannot watch a socket", "error", err)
		h.close()
		return
	}
	if l.idle == nil {
		// Stopped when the loop has no such connection any more.
		l.idle = time.AfterFunc(l.eng.http.idle(), func() { l.run(l.expireIdle) })
	}
}

// resumeHTTP takes back a socket that the HTTP server has served.
func (l *loop) resumeHTTP(a arrival) {
	if l.eng.http.over() {
		l.discard(a)
		return
	}
	l.live++
	l.serveHTTP(a.fd, a.read, true)
}

// ready is the epoll callback.
func (h *httpConn) ready(ev readiness) {
	if ev == pollerClosed || ev&readable == 0 || h.again {
		return
	}
	defer h.rescue()
	h.loop.stayAwake()
	h.read(ev)
}

// read takes what the socket has, at most one buffer's worth in a turn.
func (h *httpConn) read(ev readiness) {
	l := h.loop
	for h.fd >= 0 {
		n, errno := recvNow(h.fd, l.buf)
		if errno == unix.EAGAIN {
			return
		}
		switch {
		case errno == 0 && n == 0 && h.partial != nil:
			h.handOver(h.partial, nil) // the HTTP server says what is missing
			return
		case errno != 0 || n == 0:
			h.close()
			return
		}
		if !h.feed(l.buf[:n]) {
			return
		}
		if n == len(l.buf) {
			h.giveTurn() // there may be more; the others have theirs first
			return
		}
		if ev&hungUp == 0 {
			return // that was all; more would be a new edge
		}
	}
}

// giveTurn is loop.giveTurn for a connection of HTTP's.
func (h *httpConn) giveTurn() {
	h.again = true
	h.loop.run(func() {
		h.again = false
		h.ready(readable)
	})
}

// feed answers the requests in data. It reports false once the connection is
// not the loop's any more.
func (h *httpConn) feed(data []byte) bool {
	l := h.loop
	if h.partial != nil {
		data = append(h.partial, data...)
	}
	out, verdict := l.answers[:0], Answered
	for len(data) > 0 && verdict == Answered {
		var n int
		n, out, verdict = l.eng.http.answer(data, out)
		if verdict == Answered {
			h.forget()
			h.known = true
			data = data[n:]
		}
	}
	if verdict == Partial && (len(data) > partialRequest || !h.known) {
		// The HTTP server makes room when strangers hold all that there is.
		verdict = Foreign
	}
	unsent, errno := h.send(out)
	switch {
	case errno != 0:
		h.close()
		return false
	case verdict == Last:
		_ = unix.Shutdown(h.fd, unix.SHUT_WR) // fails only if the peer is gone
		h.close()
		return false
	case len(unsent) > 0 || verdict == Foreign:
		// Who does not take the answers is to be waited for.
		h.handOver(data, unsent)
		return false
	}
	h.keep(data)
	return true
}

// send sends answers, and returns what the socket did not take.
func (h *httpConn) send(answers []byte) (unsent []byte, errno unix.Errno) {
	if len(answers) == 0 {
		return nil, 0
	}
	l := h.loop
	n, errno := sendNow(h.fd, answers)
	if errno == unix.EAGAIN {
		errno = 0
	}
	if l.answers = answers[:0]; cap(answers) > maxScratch {
		l.answers = nil
	}
	l.giveWay()
	return answers[n:], errno
}

// keep keeps the beginning of a request, or nothing.
func (h *httpConn) keep(partial []byte) {
	l := h.loop
	switch {
	case h.partial != nil: // and partial is more of the same
		h.partial = partial
		return
	case len(partial) > 0:
		h.partial = append([]byte(nil), partial...)
		l.unfinished++
		l.arm()
	}
	h.since = l.eng.now()
}

// forget gives up the beginning of a request.
func (h *httpConn) forget() {
	if h.partial != nil {
		h.partial = nil
		h.loop.unfinished--
	}
}

// handOver gives the socket to the HTTP server, with what was read from it and
// what it still has to be sent.
func (h *httpConn) handOver(read, unsent []byte) {
	e := h.loop.eng
	if e.http.over() {
		if len(unsent) == 0 { // else it would lie in the middle of an answer
			unsent = e.stoppingAnswer()
		}
		_, _ = sendNow(h.fd, unsent) // whether it arrives or not: this is the end
		_ = unix.Shutdown(h.fd, unix.SHUT_WR)
		h.close()
		return
	}
	handed := &handedConn{
		socket: newSocket(h.leave()), listener: e.http, reserved: -1, known: h.known, silent: len(read) == 0,
		read: append([]byte(nil), read...), unsent: append([]byte(nil), unsent...),
	}
	if !e.http.offer(handed) {
		_ = handed.Close() // it has closed just now
	}
	h.loop.giveWay()
}

// close ends the connection.
func (h *httpConn) close() {
	_ = unix.Close(h.leave()) // the descriptor is gone whatever it returns
	h.loop.eng.http.open.Add(-1)
}

// leave takes the connection off its loop and returns its descriptor.
func (h *httpConn) leave() (fd int) {
	l := h.loop
	fd, h.fd = h.fd, -1
	h.forget()
	last := len(l.https) - 1
	l.https[h.place] = l.https[last]
	l.https[h.place].place = h.place
	l.https[last] = nil
	l.https = l.https[:last]
	if last == 0 && l.idle != nil {
		l.idle.Stop()
		l.idle = nil
	}
	l.poll.remove(fd)
	l.left()
	return fd
}

// rescue ends the connection whose request made Answer panic, and nothing else.
func (h *httpConn) rescue() {
	if !h.loop.eng.recovered(recover(), "panic while serving a request; its connection is closed") {
		return
	}
	if h.fd >= 0 {
		_, _ = sendNow(h.fd, refusedInternal.wire())
		h.close()
	}
}

// expirePartial hands over those whose request does not come to an end.
func (l *loop) expirePartial(now int64) {
	for i := len(l.https) - 1; i >= 0 && l.unfinished > 0; i-- { // from the end: others move to where one leaves
		if h := l.https[i]; h.partial != nil && now-h.since >= partialTime {
			h.handOver(h.partial, nil)
		}
	}
}

// expireIdle closes the connections that have been silent for too long, and
// comes back when the next may have been.
func (l *loop) expireIdle() {
	now, idle := l.eng.now(), l.eng.http.idle()
	next := idle
	for i := len(l.https) - 1; i >= 0; i-- {
		h := l.https[i]
		if left := idle - time.Duration(now-h.since)*time.Millisecond; left > 0 {
			next = min(next, left)
		} else if h.partial == nil {
			h.close()
		}
	}
	if l.idle != nil {
		l.idle.Reset(next)
	}
}

// endIdlest closes the connections that have been silent for longest between two
// requests until no more than most are open, so that those who keep theirs and
// send nothing do not keep others out. It reports false if there are too few. It
// reads into the loop's buffer.
func (l *loop) endIdlest(most int) bool {
	for l.eng.http.open.Load() > int64(most) {
		h := l.idlest()
		if h == nil {
			return false
		}
		h.endIdle()
	}
	return true
}

// makeHTTPRoom has one of these loops, the first that can, make room for a
// connection that will come.
func (e *Engine) makeHTTPRoom(loops []*loop) {
	if len(loops) == 0 {
		return
	}
	l := loops[0]
	l.run(func() {
		if !l.endIdlest(e.opts.MaxHTTPConns - 1) {
			e.makeHTTPRoom(loops[1:])
		}
	})
}

// endIdle closes the connection, unless something has come just now.
func (h *httpConn) endIdle() {
	defer h.rescue()
	since := h.since
	if h.read(readable); h.fd >= 0 && h.since == since {
		h.close()
	}
}

// idlest is the connection that has been silent for longest, nil if none has been
// silent for idleLeast.
func (l *loop) idlest() (idlest *httpConn) {
	since := l.eng.now() - idleLeast
	for _, h := range l.https {
		if h.known && h.partial == nil && h.since <= since {
			idlest, since = h, h.since
		}
	}
	return idlest
}

// endHTTP closes what the loop has of HTTP: the listener is closed. What has
// come before is answered, or refused.
func (l *loop) endHTTP() {
	for len(l.https) > 0 {
		l.https[len(l.https)-1].end()
	}
}

func (h *httpConn) end() {
	defer h.rescue()
	h.read(readable)
	switch {
	case h.fd < 0: // that was its end
	case h.partial != nil:
		h.handOver(h.partial, nil)
	default:
		h.close()
	}
}
