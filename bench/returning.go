package main

import (
	"fmt"
	"time"
)

// Clients that leave, return, and try again.

// churn is the plan of those that leave.
type churn struct {
	rate  float64 // a second
	began int64
	gone  int64 // since then
	next  int   // the client whose turn it is
}

// retry is a client that tries again.
type retry struct {
	client int32
	at     int64
}

const (
	// retryAfter is how long a persistent client waits before it tries again,
	// retryStep how often the swarm looks for those, in milliseconds.
	retryAfter = 100 * time.Millisecond
	retryStep  = 10
	maxTries   = 100

	// churnStep is how often a churning swarm looks who has to leave, in
	// milliseconds.
	churnStep = 2
	// shakeWithin is how long a tolerant swarm waits for a handshake.
	shakeWithin = 20 * time.Second
)

// again lets those try whose time has come.
func (s *swarm) again() {
	for now := s.clock.now(); len(s.later) > 0 && s.later[0].at <= now; s.later = s.later[1:] {
		s.todo = append(s.todo, s.later[0].client)
	}
}

// outlive lets go of a patient client's connection whose server has died.
func (s *swarm) outlive(c *client) {
	s.release(c)
	s.status.Open--
}

// leave drops one client and lets it come back, if it is not on its way.
func (s *swarm) leave(i int) {
	c := &s.clients[i]
	if s.plan.Patient && c.state == clientClosed { // see outlive
		s.todo = append(s.todo, int32(i))
		return
	}
	if c.state != clientOpen {
		return
	}
	s.release(c)
	s.status.Open--
	if s.plan.Lives {
		s.ledger.leave(i)
	}
	s.todo = append(s.todo, int32(i))
}

// replace lets as many leave as the churn's rate asks for by now.
func (s *swarm) replace() {
	due := int64(float64(s.clock.now()-s.churn.began) / 1e9 * s.churn.rate)
	for tries := 0; s.churn.gone < due && tries < len(s.clients); tries++ {
		i := s.churn.next
		s.churn.next = (i + 1) % len(s.clients)
		if s.clients[i].state == clientOpen {
			s.leave(i)
			s.churn.gone++
		}
	}
}

// expire gives up handshakes that are under way for too long. Only one look a
// second: it walks over all clients.
func (s *swarm) expire() {
	now := s.clock.now()
	if now < s.deadline {
		return
	}
	s.deadline = now + 1e9
	for i := range s.clients {
		c := &s.clients[i]
		if c.fd >= 0 && c.state != clientOpen && now-c.since > int64(c.tries+1)*shakeWithin.Nanoseconds() {
			_ = s.refused(i, fmt.Errorf("a handshake that took more than %v", shakeWithin)) // nil: the swarm is tolerant
		}
	}
}
