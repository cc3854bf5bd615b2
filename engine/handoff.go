package engine

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// httpListener yields the connections that are not WebSockets to an HTTP
// server, with the bytes that were read from them already. Those whose requests
// the loops answer (httpconn.go) it yields when another request comes.
type httpListener struct {
	eng   *Engine
	addr  net.Addr
	conns chan net.Conn
	open  atomic.Int64 // on a loop, or handed over, and not closed yet

	answers atomic.Pointer[answering] // nil: none

	closeOnce sync.Once
	closed    chan struct{}
}

// answering is how the loops answer requests.
type answering struct {
	answer Answer
	idle   time.Duration
}

func newHTTPListener(e *Engine, addr net.Addr) *httpListener {
	return &httpListener{eng: e, addr: addr, conns: make(chan net.Conn, e.opts.MaxHTTPConns), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (h *httpListener) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// AnswerWith lets the loops answer the requests that answer is for, and close
// the connections that are silent for longer than idle. It may be called once,
// before or after connections have come.
func (h *httpListener) AnswerWith(answer Answer, idle time.Duration) {
	h.answers.Store(&answering{answer, idle})
}

// answer asks what AnswerWith has set.
func (h *httpListener) answer(read, dst []byte) (n int, out []byte, v Verdict) {
	if a := h.answers.Load(); a != nil {
		return a.answer(read, dst)
	}
	return 0, dst, Foreign
}

// idle is what AnswerWith has set.
func (h *httpListener) idle() time.Duration { return h.answers.Load().idle }

// Open is how many connections are HTTP's, those on the loops too.
func (h *httpListener) Open() int { return int(h.open.Load()) }

// Known reports whether requests of a connection that the listener has yielded
// were answered on the loops before.
func (h *httpListener) Known(c net.Conn) bool {
	handed, ok := c.(*handedConn)
	return ok && handed.known
}

// Close implements net.Listener. It closes what nobody has accepted, and what
// the loops serve.
func (h *httpListener) Close() error {
	h.closeOnce.Do(func() {
		close(h.closed)
		for _, l := range h.eng.loops {
			l.run(l.endHTTP)
		}
	})
	for {
		select {
		case c := <-h.conns:
			_ = c.Close()
		default:
			return nil
		}
	}
}

// Addr implements net.Listener.
func (h *httpListener) Addr() net.Addr { return h.addr }

// over reports whether the server takes no more.
func (h *httpListener) over() bool {
	select {
	case <-h.closed:
		return true
	default:
		return false
	}
}

// offer hands a connection over. There is room for all that may be open. It
// reports false if the server is closed.
func (h *httpListener) offer(c net.Conn) bool {
	if h.over() {
		return false
	}
	h.conns <- c
	return true
}

// handedConn is a connection of the HTTP server's that starts with the bytes
// that the loop has read.
type handedConn struct {
	socket
	read     []byte
	unsent   []byte // answers that go out first
	known    bool   // the loop has answered requests of it
	silent   bool   // nothing has come since it was answered last
	listener *httpListener

	mu       sync.Mutex
	closed   bool
	reserved int // a second descriptor of the socket, -1 for none; see Reserve
}

func (c *handedConn) Read(p []byte) (int, error) {
	if len(c.unsent) > 0 {
		if err := c.sendUnsent(); err != nil {
			return 0, err
		}
	}
	if len(c.read) > 0 {
		n := copy(p, c.read)
		if c.read = c.read[n:]; len(c.read) == 0 {
			c.read = nil
		}
		return n, nil
	}
	n, err := c.socket.Read(p)
	if timeout, ok := err.(net.Error); ok && c.silent && timeout.Timeout() {
		err = io.EOF // between two requests that is no error to tell the client of
	}
	c.silent = c.silent && n == 0
	return n, err
}

func (c *handedConn) sendUnsent() error {
	if err := c.SetWriteDeadline(time.Now().Add(c.listener.eng.opts.WriteTimeout)); err != nil {
		return err
	}
	if _, err := c.socket.Write(c.unsent); err != nil {
		return err
	}
	c.unsent = nil
	return c.SetWriteDeadline(time.Time{})
}

func (c *handedConn) Close() error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		c.listener.open.Add(-1)
	}
	if c.reserved >= 0 { // the peer is gone before it was used
		_ = unix.Close(c.reserved)
		c.reserved = -1
	}
	c.mu.Unlock()
	return c.socket.Close()
}

// duplicate returns a second descriptor of the socket, for a loop: the first is
// the Go runtime's for good.
func (c *handedConn) duplicate() (fd int, err error) {
	err = c.control(func(own int) (err error) {
		fd, err = unix.FcntlInt(uintptr(own), unix.F_DUPFD_CLOEXEC, 0)
		return os.NewSyscallError("fcntl", err)
	})
	return fd, err
}

// busyAnswer is for an HTTP client for whom there is no room.
func (e *Engine) busyAnswer() []byte { return answerOr(e.opts.HTTPBusy, "busy") }

// stoppingAnswer is for an HTTP client who comes when the listener is closed.
func (e *Engine) stoppingAnswer() []byte { return answerOr(e.opts.HTTPStopping, "stopping") }

// answerOr is a whole answer, or a plain 503 where there is none.
func answerOr(whole []byte, reason string) []byte {
	if whole != nil {
		return whole
	}
	return (&Refusal{statusServiceUnavailable, reason}).wire()
}

// handOff makes c's socket HTTP's, with what was read from it.
func (l *loop) handOff(c *Conn, read []byte) {
	e := l.eng
	if e.http.over() {
		l.refuseWith(c, e.stoppingAnswer())
		return
	}
	if e.http.open.Add(1) > int64(e.opts.MaxHTTPConns) {
		read = slices.Clone(read) // it lies in the loop's buffer, which is read into
		if !l.endIdlest(e.opts.MaxHTTPConns) {
			e.http.open.Add(-1)
			e.stats.full.Add(1)
			l.refuseWith(c, e.busyAnswer())
			at := slices.Index(e.loops, l)
			e.makeHTTPRoom(slices.Concat(e.loops[at+1:], e.loops[:at]))
			return
		}
	}
	e.stats.http.Add(1)
	c.mu.Lock()
	c.state = stateGone
	c.mu.Unlock()
	l.poll.remove(int(c.fd))
	l.endHandshake()
	l.serveHTTP(int(c.fd), read, false)
}

// Adopt takes a connection that HTTP has yielded back: a client, or a proxy
// with connections to spare, has sent a request on it that the handler claims.
// read is what was read from that request's line on. c is closed in any case;
// an error means that its socket is too.
func (e *Engine) Adopt(c net.Conn, read []byte) error {
	defer c.Close()
	if e.stopping.Load() {
		return ErrStopping
	}
	handed, ok := c.(*handedConn)
	if !ok {
		return errors.New("engine: not a connection of this engine")
	}
	fd, err := handed.duplicate()
	if err != nil {
		return err
	}
	e.handBack(arrival{fd: fd, read: append(read, handed.read...)})
	return nil
}

// Reserve prepares a connection that the listener has yielded for Return, which
// cannot fail then for want of descriptors.
func (h *httpListener) Reserve(c net.Conn) error {
	handed, ok := c.(*handedConn)
	if !ok {
		return errors.New("engine: not a connection of this listener")
	}
	fd, err := handed.duplicate()
	if err != nil {
		return err
	}
	handed.mu.Lock()
	defer handed.mu.Unlock()
	if handed.closed {
		_ = unix.Close(fd)
		return net.ErrClosed
	}
	handed.reserved = fd
	return nil
}

// Return gives a connection that Reserve has prepared to the loops, which answer
// as AnswerWith has said: the next requests may be some of these. read is what
// was read of them. c is closed.
func (h *httpListener) Return(c net.Conn, read []byte) {
	handed := c.(*handedConn)
	defer handed.Close()
	handed.mu.Lock()
	fd := handed.reserved
	handed.reserved = -1
	handed.mu.Unlock()
	if fd < 0 {
		return // it was closed meanwhile
	}
	h.open.Add(1)
	h.eng.handBack(arrival{fd: fd, read: append(read, handed.read...), http: true})
}

// handBack hands a socket of the HTTP server's to a loop.
func (e *Engine) handBack(a arrival) { e.loops[a.fd%len(e.loops)].hand(a) }
