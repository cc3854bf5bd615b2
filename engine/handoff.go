package engine

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// httpListener yields the connections that are not WebSockets to an HTTP
// server, with the bytes that were read from them already.
type httpListener struct {
	addr  net.Addr
	conns chan net.Conn
	open  atomic.Int64 // handed over and not closed yet

	closeOnce sync.Once
	closed    chan struct{}
}

// httpBacklog is how many connections may wait for the server to accept them.
const httpBacklog = 256

func newHTTPListener(addr net.Addr) *httpListener {
	return &httpListener{addr: addr, conns: make(chan net.Conn, httpBacklog), closed: make(chan struct{})}
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

// Close implements net.Listener. It closes what nobody has accepted.
func (h *httpListener) Close() error {
	h.closeOnce.Do(func() { close(h.closed) })
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

// offer hands a connection over without blocking. It reports false if the
// server is closed or does not keep up.
func (h *httpListener) offer(c net.Conn) bool {
	if h.over() {
		return false
	}
	select {
	case h.conns <- c:
		return true
	default:
		return false
	}
}

// handedConn is a connection of the HTTP server's that starts with the bytes
// that the loop has read.
type handedConn struct {
	net.Conn
	read     []byte
	listener *httpListener
	once     sync.Once
}

func (c *handedConn) Read(p []byte) (int, error) {
	if len(c.read) > 0 {
		n := copy(p, c.read)
		if c.read = c.read[n:]; len(c.read) == 0 {
			c.read = nil
		}
		return n, nil
	}
	return c.Conn.Read(p)
}

// CloseWrite ends our side of the connection, as on a *net.TCPConn.
func (c *handedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (c *handedConn) Close() error {
	c.once.Do(func() { c.listener.open.Add(-1) })
	return c.Conn.Close()
}

// busyAnswer is for an HTTP client that cannot be handed over.
func (e *Engine) busyAnswer() []byte {
	if e.opts.HTTPBusy != nil {
		return e.opts.HTTPBusy
	}
	return (&Refusal{statusServiceUnavailable, "busy"}).wire()
}

// handOff gives c's socket, and what was read from it, to the HTTP server.
func (l *loop) handOff(c *Conn, read []byte) {
	e := l.eng
	if e.http.over() {
		l.refuseWith(c, e.busyAnswer())
		return
	}
	if e.http.open.Add(1) > int64(e.opts.MaxHTTPConns) {
		e.http.open.Add(-1)
		e.stats.full.Add(1)
		l.refuseWith(c, e.busyAnswer())
		return
	}
	conn, err := l.detach(c)
	l.endHandshake()
	if err != nil {
		e.http.open.Add(-1)
		e.opts.Logger.Warn("cannot hand a connection to the HTTP server", "error", err)
		return
	}
	e.stats.http.Add(1)
	handed := &handedConn{Conn: conn, read: append([]byte(nil), read...), listener: e.http}
	if !e.http.offer(handed) {
		e.stats.full.Add(1)
		_ = handed.Close()
	}
}

// detach turns c's socket into a net.Conn and forgets c. The socket leaves the
// epoll first; net.FileConn then works on a duplicate of the descriptor.
func (l *loop) detach(c *Conn) (net.Conn, error) {
	c.mu.Lock()
	c.state = stateGone
	c.mu.Unlock()
	l.poll.remove(int(c.fd))
	f := os.NewFile(uintptr(c.fd), "socket")
	defer f.Close()
	defer l.left()
	return net.FileConn(f)
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
	tcp, ok := handed.Conn.(syscall.Conn)
	if !ok {
		return errors.ErrUnsupported
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	fd := -1
	if ctl := raw.Control(func(s uintptr) { fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) }); ctl != nil {
		return ctl
	}
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	e.loops[fd%len(e.loops)].hand(arrival{fd, append(read, handed.read...)})
	return nil
}
