package main

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// swarm is many WebSocket clients on one epoll and one goroutine: no
// goroutine, no buffer and no timer a client.
type swarm struct {
	// Immutable after startSwarm.
	plan    plan
	clock   clock
	publish func(status)  // called by run whenever something changed
	done    chan struct{} // closed when run has ended
	epoll   int
	bell    int // eventfd that wakes run for an order

	mu     sync.Mutex
	orders []order

	// Owned by run until done is closed, then by whoever waited for it.
	clients  []client
	byFD     []int32 // client by descriptor
	todo     []int32 // clients to be connected
	shaking  int     // handshakes under way
	later    []retry // failed ones that try again, in the order of their time
	status   status  // as of the last turn
	told     status  // as last published
	stalled  bool
	churn    churn
	ending   bool
	events   []unix.EpollEvent
	buf      []byte // one receive buffer for all
	request  []byte
	ledger   *ledger
	lap      *latencies
	failure  error // why run ended by itself
	deadline int64 // for the handshakes under way
}

const (
	receiveBuffer = 64 << 10 // bytes
	eventBatch    = 512

	// stalledBuffer is the receive buffer of clients that stall, in bytes: the
	// kernel must not take in for them what the server should feel.
	stalledBuffer = 4 << 10
)

// startSwarm begins to open the connections. publish is called from its
// goroutine. end must be called.
func startSwarm(p plan, publish func(status)) (*swarm, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	s := newSwarm(p, publish)
	s.epoll, s.bell = fd, bell
	for i := range s.clients {
		s.clients[i].fd = -1
		s.todo = append(s.todo, int32(i))
		if p.Lives {
			s.ledger.leave(i)
		}
	}
	s.status.Waiting = p.Count
	go s.run() // ends by failure or by end, which waits for it
	return s, nil
}

// newSwarm is a swarm without its descriptors.
func newSwarm(p plan, publish func(status)) *swarm {
	return &swarm{
		plan: p, clock: newClock(), publish: publish, done: make(chan struct{}), stalled: p.Stalled,
		clients: make([]client, p.Count),
		events:  make([]unix.EpollEvent, eventBatch),
		buf:     make([]byte, receiveBuffer),
		ledger:  newLedger(p.First, p.Count, p.Payload),
		lap:     newLatencies(),
	}
}

// obey hands an order to the swarm and does not wait for it.
func (s *swarm) obey(o order) {
	s.mu.Lock()
	s.orders = append(s.orders, o)
	s.mu.Unlock()
	_, _ = unix.Write(s.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // any number but 0 will do
}

// end drops all connections and returns the account of the messages, of which
// so many were expected.
func (s *swarm) end(expected int64) result {
	s.obey(order{Do: orderEnd})
	<-s.done
	for i := range s.clients {
		s.clients[i].drop()
	}
	_ = unix.Close(s.epoll)
	_ = unix.Close(s.bell)
	r := result{Tally: s.ledger.settle(expected)}
	if s.plan.Lives {
		r.Tally = s.ledger.settleLives()
	}
	if s.failure != nil {
		r.Failure = s.failure.Error()
	}
	return r
}

// run is the swarm's goroutine.
func (s *swarm) run() {
	defer close(s.done)
	if s.plan.Background {
		defer giveWay()()
	}
	if s.failure = watch(s.epoll, s.bell, unix.EPOLLIN); s.failure != nil {
		return
	}
	for !s.ending {
		n, err := unix.EpollWait(s.epoll, s.events, s.turn())
		if err != nil && err != unix.EINTR {
			s.failure = os.NewSyscallError("epoll_wait", err)
			return
		}
		for _, ev := range s.events[:max(n, 0)] {
			if int(ev.Fd) == s.bell {
				s.obeyAll()
				continue
			}
			i := int(s.byFD[ev.Fd])
			if s.failure = s.serve(i, ev.Events); s.failure != nil {
				return
			}
		}
		if s.plan.Gather > 0 && n < len(s.events) {
			pause := unix.NsecToTimespec(s.plan.Gather.Nanoseconds())
			s.tell()
			_ = unix.Nanosleep(&pause, nil) // a signal may cut it short
		}
		if s.failure != nil {
			return
		}
	}
}

// turn does what time asks for and says how long run may wait, in
// milliseconds.
func (s *swarm) turn() (wait int) {
	wait = -1
	if s.churn.rate > 0 {
		wait = churnStep
		s.replace()
	}
	if s.plan.Tolerant && s.shaking+len(s.later) > 0 {
		if wait < 0 {
			wait = retryStep
		}
		s.again()
		s.expire()
	}
	if s.failure = s.dial(); s.failure != nil {
		s.ending = true
	}
	s.tell()
	if s.ending {
		return 0
	}
	return wait
}

// tell publishes what has changed.
func (s *swarm) tell() {
	s.status.Delivered = s.ledger.tally.Delivered
	s.status.Waiting = len(s.todo) + s.shaking + len(s.later)
	if s.status == s.told {
		return
	}
	s.publish(s.status)
	s.status.Lap = nil
	s.told = s.status
}

func (s *swarm) obeyAll() {
	var rung [8]byte
	_, _ = unix.Read(s.bell, rung[:])
	s.mu.Lock()
	orders := s.orders
	s.orders = nil
	s.mu.Unlock()
	for _, o := range orders {
		switch o.Do {
		case orderEnd:
			s.ending = true
		case orderStorm:
			for i := range s.clients {
				s.leave(i)
			}
		case orderChurn:
			s.churn = churn{rate: o.Rate, began: s.clock.now(), next: s.churn.next}
		case orderResume:
			s.stalled = false
			for i := range s.clients {
				if s.clients[i].state == clientOpen {
					if err := s.serve(i, 0); err != nil {
						s.failure, s.ending = err, true
					}
				}
			}
		case orderLap:
			s.status.Lap, s.lap = s.lap, newLatencies()
		}
		s.status.Obeyed++
		s.tell()
	}
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
			return s.refused(i, err)
		}
		data = data[n:]
		s.opened(c)
	}
	now := int64(0) // read once for all that came together
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
			s.status.Frame = f.size
			if m, ok := s.ledger.take(i, f.payload); ok && m.at > 0 {
				if now == 0 {
					now = s.clock.now()
				}
				s.time(m, now)
			}
		case opPing:
			c.pong(f.payload)
		case opClose:
			s.ended(i, closeReason(f.payload))
			return nil
		}
	}
	c.part = nil
	return nil
}

// time enters how late a message is.
func (s *swarm) time(m message, now int64) {
	if now < m.at {
		s.lap.Early++
	}
	if m.to == everyone {
		s.lap.Broadcast.record(now - m.at)
		return
	}
	s.lap.Unicast.record(now - m.at)
}

// ended counts a connection that the server has closed.
func (s *swarm) ended(i int, reason string) {
	c := &s.clients[i]
	if s.status.Reason == "" {
		s.status.Reason = reason
	}
	s.release(c)
	s.status.Open--
	if s.plan.Stalled {
		s.status.Dismissed++
		return
	}
	s.ledger.tally.Closed++
}

// release closes a client's socket and forgets its descriptor, which another
// may get.
func (s *swarm) release(c *client) {
	if c.fd >= 0 {
		s.byFD[c.fd] = -1
	}
	c.drop()
}
