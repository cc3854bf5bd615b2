package main

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// traffic is an open loop: pushes at fixed rates, each at its own time whether
// the one before it has been answered or not. Its latency counts from the time
// it was meant for, so that a server that stalls is charged for all that had
// to wait.
type traffic struct {
	clock   clock
	to      endpoint
	payload int
	clients int       // those who get the pushes to single clients: the first ones
	members []*member // of these; delayed pushes have the last to themselves
	streams []*stream
	enough  *atomic.Bool // see bench
}

// stream is one publisher with a rate.
type stream struct {
	rate  float64 // pushes a second
	delay int     // seconds
	shift float64 // of the distance between two pushes: streams take turns
	next  func() message
	toAll bool
	sent  atomic.Int64
	lag   *spread // see traffic.lag
	reply *spread // from the intended time to the answer
}

// member is one publisher's part of the clients: first, first+step and so on.
// Every client gets all its messages from one publisher, so that the order in
// which they must come is exact.
type member struct {
	first, step int
	sent        []int // by token: pushes so far
	random      *rand.Rand
}

// newMembers deals n clients out among so many publishers.
func newMembers(n, publishers int) (all []*member) {
	for i := range publishers {
		all = append(all, &member{
			first: i, step: publishers, sent: make([]int, (n-i+publishers-1)/publishers),
			random: rand.New(rand.NewPCG(uint64(i), 1)), // the same tokens in every run
		})
	}
	return all
}

// next is the next push, to a random client.
func (m *member) next() message { return m.to(m.random.IntN(len(m.sent))) }

// to is the next push to the i-th of the member's clients.
func (m *member) to(i int) message {
	m.sent[i]++
	return message{to: m.first + i*m.step, seq: m.sent[i]}
}

// newTraffic is traffic to a server; pushes to single clients go to the first
// n. It has no streams yet.
func (b *bench) newTraffic(s *server, n int) *traffic {
	n = min(n, b.conns)
	return &traffic{clock: b.clock, to: s.endpoint, payload: b.payload, clients: n, enough: &b.enough, members: newMembers(n, min(b.publishers+1, n))}
}

// usual is traffic with the rates of the flags: pushes to single clients, and
// broadcasts.
func (b *bench) usual(s *server) *traffic {
	t := b.newTraffic(s, b.probes)
	t.unicast(b.rate)
	t.broadcast(b.broadcastRate)
	return t
}

// unicast adds pushes to single clients, over all publishers but the last.
func (t *traffic) unicast(rate float64) {
	users := t.members[:max(1, len(t.members)-1)]
	for i, m := range users {
		t.streams = append(t.streams, &stream{
			rate: rate / float64(len(users)), shift: float64(i) / float64(len(users)), next: m.next, lag: newSpread(), reply: newSpread(),
		})
	}
}

// broadcast adds pushes to everybody.
func (t *traffic) broadcast(rate float64) {
	seq := 0
	t.streams = append(t.streams, &stream{rate: rate, shift: 0.5, toAll: true, lag: newSpread(), reply: newSpread(), next: func() message {
		seq++
		return message{to: everyone, seq: seq}
	}})
}

// delayed adds pushes to single clients that are due some seconds later.
func (t *traffic) delayed(rate float64, seconds int) {
	last := t.members[len(t.members)-1]
	t.streams = append(t.streams, &stream{rate: rate, shift: 0.25, delay: seconds, next: last.next, lag: newSpread(), reply: newSpread()})
}

// run sends for a time.
func (t *traffic) run(d time.Duration) error {
	begin := t.clock.now() + time.Millisecond.Nanoseconds()
	results := make(chan error, len(t.streams))
	var stop atomic.Bool // the first error ends them all
	for _, s := range t.streams {
		go func() { // awaited below
			err := t.send(s, begin, begin+d.Nanoseconds(), &stop)
			if err != nil {
				stop.Store(true)
			}
			results <- err
		}()
	}
	return awaitAll(results, len(t.streams))
}

const (
	// longSilence is from when on, in nanoseconds, a publisher connects anew: a
	// server may close a connection that has been silent, and one that has not
	// said anything yet above all.
	longSilence = 30_000_000_000

	// dialAhead is how long before its push, in nanoseconds.
	dialAhead = 1_000_000_000
)

func (t *traffic) send(s *stream, begin, end int64, stop *atomic.Bool) error {
	if s.rate <= 0 {
		return nil
	}
	var p *publisher
	defer func() {
		if p != nil {
			p.close()
		}
	}()
	apart := 1e9 / s.rate
	used := int64(math.MinInt64 / 2)
	for i := 0; !stop.Load() && !t.enough.Load(); i++ {
		at := begin + int64((float64(i)+s.shift)*apart)
		if at >= end {
			return nil
		}
		if at-used > longSilence {
			if p != nil {
				p.close()
			}
			t.clock.until(at - dialAhead)
			var err error
			if p, err = dialPublisher(t.to); err != nil {
				return err
			}
		}
		used = at
		if t.clock.now() < at { // otherwise it waited for the server's answer
			t.clock.until(at)
			s.lag.record(t.clock.now() - at)
		}
		m := s.next()
		m.at = at + int64(s.delay)*1e9
		s.sent.Add(1)
		if err := p.push(m, s.delay, t.payload); err != nil {
			return err
		}
		s.reply.record(t.clock.now() - at)
	}
	return nil
}

// singles is how many pushes to single clients were sent.
func (t *traffic) singles() (total int64) {
	for _, s := range t.streams {
		if !s.toAll {
			total += s.sent.Load()
		}
	}
	return total
}

// broadcasts is how many of them were sent.
func (t *traffic) broadcasts() (total int64) {
	for _, s := range t.streams {
		if s.toAll {
			total += s.sent.Load()
		}
	}
	return total
}

// lag is how late the publishers of single pushes woke when nothing but their
// own plan held them; reply is how long their answers took from the intended
// time on. The push may be with its client before that.
func (t *traffic) lag() (lag, reply *spread) {
	lag, reply = newSpread(), newSpread()
	for _, s := range t.streams {
		if !s.toAll {
			lag.merge(s.lag)
			reply.merge(s.reply)
		}
	}
	return lag, reply
}
