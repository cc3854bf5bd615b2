package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"
)

// push measures what a unicast push over HTTP costs: publishers on keep-alive
// connections send one after another, each as soon as it has the answer to the
// one before, to random tokens. The floor reads the same requests with
// fasthttp and answers them, and does nothing else.
//
// The tokens are dealt out among the publishers, so that every client gets all
// its messages from one: the order in which they must come is then exact.
func (b *bench) push() error {
	b.report.run.Setup = fmt.Sprintf("%d connections, subjects of %d bytes, a round is %d pushes over %d publishers",
		b.conns, b.payload, b.pushes, b.publishers)
	return with(b.startRelay, func(relay *server) error {
		return with(func() (*server, error) { return b.startFloor(floorHTTP) }, func(floor *server) error {
			return b.pushTo(relay, floor)
		})
	})
}

func (b *bench) pushTo(relay, floor *server) (err error) {
	clients, err := dialSwarm(relay.addr, b.conns, b.dialing, b.payload)
	if err != nil {
		return err
	}
	delivered := 0
	defer func() { b.settle(relay, clients, delivered, &err) }()
	mine, least := b.newCrowd(relay), b.newCrowd(floor)
	each := b.pushes / b.publishers
	n := each * b.publishers
	r := &b.report
	for round := range b.rounds {
		b.note("round %d of %d", round+1, b.rounds)
		var took, floorTook time.Duration
		w, err := relay.measure(func() (err error) {
			delivered += n
			if took, err = mine.send(each); err != nil {
				return err
			}
			return clients.await(int64(delivered))
		})
		if err != nil {
			return err
		}
		f, err := floor.measure(func() (err error) {
			floorTook, err = least.send(each)
			return err
		})
		if err != nil {
			return err
		}
		r.add("relay CPU per push", "µs", w.each(n))
		r.add("floor CPU per push", "µs", f.each(n))
		r.add("relay CPU per push ÷ floor", "", w.each(n)/f.each(n))
		r.add("relay pushes per CPU second ÷ floor", "", f.each(n)/w.each(n))
		r.add("relay pushes a second", "", float64(n)/took.Seconds())
		r.add("floor pushes a second", "", float64(n)/floorTook.Seconds())
		r.add("relay core in use while pushing", "%", 100*w.cpu.Seconds()/took.Seconds())
		r.add("relay CPU in the kernel", "%", w.kernel())
		r.add("server's core used by others meanwhile", "%", max(w.others, f.others))
	}
	return nil
}

// crowd is several publishers that push to one server.
type crowd struct {
	target  netip.AddrPort
	members []*member
	payload int
}

// member is one publisher's part: the tokens first, first+step and so on.
type member struct {
	first, step int
	sent        []int // by token: pushes so far
	random      *rand.Rand
}

func (b *bench) newCrowd(s *server) *crowd {
	c := &crowd{target: s.addr, payload: b.payload}
	for i := range b.publishers {
		share := (b.conns - i + b.publishers - 1) / b.publishers
		c.members = append(c.members, &member{
			first: i, step: b.publishers, sent: make([]int, share),
			random: rand.New(rand.NewPCG(uint64(i), 1)), // the same tokens in every run
		})
	}
	return c
}

// send lets every member push n times and returns how long that took. The
// connections are new each time: a server may close those that are idle while
// it is another's turn.
func (c *crowd) send(n int) (time.Duration, error) {
	began := time.Now()
	results := make(chan error, len(c.members))
	for _, m := range c.members {
		go func() { results <- m.send(c.target, n, c.payload) }() // awaited below
	}
	var err error
	for range c.members {
		err = errors.Join(err, <-results)
	}
	return time.Since(began), err
}

func (m *member) send(target netip.AddrPort, n, payload int) error {
	p, err := dialPublisher(target, apiKey)
	if err != nil {
		return err
	}
	defer p.close()
	for range n {
		i := m.random.IntN(len(m.sent))
		m.sent[i]++
		if err := p.push(m.first+i*m.step, m.sent[i], payload); err != nil {
			return err
		}
	}
	return nil
}
