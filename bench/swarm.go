package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// swarm is many WebSocket clients on one epoll and one goroutine: no
// goroutine, no buffer and no timer a client. Client i has the token USER_i.
type swarm struct {
	// Immutable after dialSwarm.
	target  netip.AddrPort
	dialing int // handshakes under way at once
	epoll   int
	halt    int // eventfd that ends run

	// Owned by run until done is closed, then by whoever waited for it.
	clients []client
	byFD    []int32 // client by descriptor
	dialed  int     // clients that have begun
	open    int     // clients that have shaken hands
	events  []unix.EpollEvent
	buf     []byte // one receive buffer for all
	request []byte
	ledger  *ledger
	reason  string // of the first connection that the server closed
	failure error  // why run ended by itself

	ready chan struct{} // closed once all clients are open
	done  chan struct{} // closed when run has ended

	delivered atomic.Int64
	frameSize atomic.Int64 // bytes of the last text frame, with header
	wanted    atomic.Int64 // what await waits for
	reached   chan struct{}
}

const (
	// stuckAfter is how long nothing may come before what is missing is lost.
	stuckAfter = 10 * time.Second

	// sourceHosts is how many addresses of 127.0.0.0/8 the clients come from:
	// each has a port range of its own.
	sourceHosts = 64

	// gather is how long the clients let events come together. The receiver of
	// a message is woken at the sender's expense; on loopback the server would
	// pay for our sleep with every single one.
	gather = 200 * time.Microsecond

	receiveBuffer = 64 << 10 // bytes
	eventBatch    = 512
)

// dialSwarm opens n connections to the server, at most dialing at once, and
// returns when all have shaken hands. subjectBytes is the size of the subjects
// that will come. close must be called.
func dialSwarm(target netip.AddrPort, n, dialing, subjectBytes int) (*swarm, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	halt, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	s := &swarm{
		target: target, dialing: dialing, epoll: fd, halt: halt,
		clients: make([]client, n),
		events:  make([]unix.EpollEvent, eventBatch),
		buf:     make([]byte, receiveBuffer),
		ledger:  newLedger(n, subjectBytes),
		ready:   make(chan struct{}), done: make(chan struct{}), reached: make(chan struct{}, 1),
	}
	for i := range s.clients {
		s.clients[i].fd = -1
	}
	go s.run() // ends by failure or by close, which waits for it
	stuck := time.NewTimer(stuckAfter + time.Duration(n)*time.Millisecond)
	defer stuck.Stop()
	select {
	case <-s.ready:
		return s, nil
	case <-s.done: // close says why
	case <-stuck.C:
		err = errors.New("the handshakes do not come to an end")
	}
	_, failed := s.close(0)
	if failed != nil {
		err = failed
	}
	return nil, fmt.Errorf("connect %d clients to %v: %w", n, target, err)
}

// await waits until the clients have got total messages. It gives up when
// nothing has come for stuckAfter: the rest counts as lost.
func (s *swarm) await(total int64) error {
	s.wanted.Store(total)
	tick := time.NewTicker(stuckAfter)
	defer tick.Stop()
	for before := int64(-1); ; {
		got := s.delivered.Load()
		if got >= total {
			return nil
		}
		select {
		case <-s.reached:
		case <-s.done:
			return s.failure
		case <-tick.C:
			if got == before {
				return fmt.Errorf("%d of %d messages have not come", total-got, total)
			}
			before = got
		}
	}
}

// close drops all connections and returns the account of the messages, of
// which so many were expected. An error is what ended the swarm before.
func (s *swarm) close(expected int64) (tally, error) {
	_, _ = unix.Write(s.halt, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // any number but 0 will do
	<-s.done
	for i := range s.clients {
		s.clients[i].drop()
	}
	_ = unix.Close(s.epoll)
	_ = unix.Close(s.halt)
	return s.ledger.settle(expected), s.failure
}

// run is the swarm's goroutine.
func (s *swarm) run() {
	defer close(s.done)
	if s.failure = watch(s.epoll, s.halt, unix.EPOLLIN); s.failure != nil {
		return
	}
	if s.failure = s.dial(); s.failure != nil {
		return
	}
	for {
		n, err := unix.EpollWait(s.epoll, s.events, -1)
		if err != nil && err != unix.EINTR {
			s.failure = os.NewSyscallError("epoll_wait", err)
			return
		}
		for _, ev := range s.events[:max(n, 0)] {
			if int(ev.Fd) == s.halt {
				return
			}
			if s.failure = s.serve(int(s.byFD[ev.Fd]), ev.Events); s.failure != nil {
				return
			}
		}
		if s.failure = s.dial(); s.failure != nil {
			return
		}
		got := s.ledger.tally.Delivered
		s.delivered.Store(got)
		if got >= s.wanted.Load() {
			select {
			case s.reached <- struct{}{}:
			default:
			}
		}
		if n < len(s.events) {
			pause := unix.NsecToTimespec(gather.Nanoseconds())
			_ = unix.Nanosleep(&pause, nil) // a signal may cut it short
		}
	}
}

// dial begins as many connections as may be under way.
func (s *swarm) dial() error {
	for s.dialed < len(s.clients) && s.dialed-s.open < s.dialing {
		if err := s.connect(s.dialed); err != nil {
			return s.explain(err)
		}
		s.dialed++
	}
	return nil
}

// connect begins the i-th client's connection.
func (s *swarm) connect(i int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	s.clients[i].fd = int32(fd)
	for len(s.byFD) <= fd {
		s.byFD = append(s.byFD, -1)
	}
	s.byFD[fd] = int32(i)
	// The port is chosen by connect, which knows the other end: each source
	// address has all ports once for every server.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	source := unix.SockaddrInet4{Addr: [4]byte{127, 1, byte(i % sourceHosts), 1}}
	if err := unix.Bind(fd, &source); err != nil {
		return os.NewSyscallError("bind", err)
	}
	target := unix.SockaddrInet4{Addr: s.target.Addr().As4(), Port: int(s.target.Port())}
	if err := unix.Connect(fd, &target); err != nil && err != unix.EINPROGRESS {
		return os.NewSyscallError("connect", err)
	}
	return watch(s.epoll, fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET)
}

// explain says what a user can do about an error of connect.
func (s *swarm) explain(err error) error {
	switch {
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return fmt.Errorf("%w: out of open files with %d connections; raise the limit (ulimit -n) or ask for fewer", err, s.dialed)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("%w: out of ports with %d connections; widen net.ipv4.ip_local_port_range, or wait a minute for those in TIME_WAIT", err, s.dialed)
	case errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("%w: nobody listens there (any more)", err)
	}
	return err
}

// serve handles the readiness of one client.
func (s *swarm) serve(i int, events uint32) error {
	c := &s.clients[i]
	if c.state == clientConnecting {
		if code, err := unix.GetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
			return s.explain(os.NewSyscallError("connect", unix.Errno(code)))
		}
		if events&unix.EPOLLOUT == 0 {
			return nil
		}
		c.state = clientHandshaking
		s.request = handshakeRequest(s.request[:0], s.target.String(), i)
		if n, errno := send(int(c.fd), s.request); errno != 0 || n < len(s.request) {
			return fmt.Errorf("send the handshake: %d bytes of %d: %w", n, len(s.request), errno)
		}
	}
	for c.state != clientClosed {
		n, errno := receive(int(c.fd), s.buf)
		if errno == unix.EAGAIN {
			return nil
		}
		if errno != 0 || n == 0 {
			if c.state != clientOpen {
				return errors.New("the server ended a connection in the handshake")
			}
			s.ended(c, "the end of the stream")
			return nil
		}
		if err := s.take(i, s.buf[:n]); err != nil {
			return err
		}
		if n < len(s.buf) && events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) == 0 {
			return nil
		}
	}
	return nil
}

// take handles the bytes that have come for a client.
func (s *swarm) take(i int, data []byte) error {
	c := &s.clients[i]
	if len(c.part) > 0 {
		c.part = append(c.part, data...)
		data = c.part
	}
	if c.state == clientHandshaking {
		n, err := readAnswer(data)
		switch {
		case err == errPartial:
			c.part = append([]byte(nil), data...)
			return nil
		case err != nil:
			return err
		}
		data = data[n:]
		c.state = clientOpen
		if s.open++; s.open == len(s.clients) {
			close(s.ready)
		}
	}
	for len(data) > 0 {
		f, err := readFrame(data)
		if err == errPartial {
			c.part = append([]byte(nil), data...)
			return nil
		}
		if err != nil {
			return err
		}
		data = data[f.size:]
		switch f.op {
		case opText:
			s.frameSize.Store(int64(f.size))
			s.ledger.take(i, f.payload)
		case opPing:
			c.pong(f.payload)
		case opClose:
			s.ended(c, closeReason(f.payload))
			return nil
		}
	}
	c.part = nil
	return nil
}

// ended counts a connection that the server has closed.
func (s *swarm) ended(c *client, reason string) {
	if s.reason == "" {
		s.reason = reason
	}
	s.ledger.tally.Closed++
	c.drop()
}
