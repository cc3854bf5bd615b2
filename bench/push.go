package main

import (
	"fmt"
	"math"
	"time"
)

// push measures what a unicast push over HTTP costs: publishers on keep-alive
// connections send one after another, each as soon as it has the answer to the
// one before, to random tokens. The floor reads the same requests with
// fasthttp and answers them, and does nothing else; bare delivers and answers
// them with nothing around the system calls. With a rate the loop is open, and
// the latency is what is looked at.
func (b *bench) push() error {
	if b.rate > 0 {
		return b.pushOpen()
	}
	b.report.run.Setup = fmt.Sprintf("%d connections, subjects of %d bytes, a round is %d turns of %d pushes over %d publishers",
		b.conns, b.payload, turnsOfRound, b.pushes/turnsOfRound, b.publishers)
	contenders := b.contenders(floorHTTP)
	if b.compares(besideBare) {
		contenders = append(contenders, b.child(besideBare, bareMode))
	}
	return b.together(contenders, func(servers []*server) error {
		return b.sideBySide(servers, besideFloor, func(all []*contestant) error {
			crowds := make(map[*contestant]*crowd)
			for _, c := range all {
				crowds[c] = b.newCrowd(c.server)
			}
			for round := range b.rounds {
				b.note("round %d of %d", round+1, b.rounds)
				if err := b.pushRound(all, crowds); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// pushRound lets the servers take turns, and enters what each has cost.
func (b *bench) pushRound(all []*contestant, crowds map[*contestant]*crowd) error {
	took := make(map[*contestant]time.Duration) // until the last answer
	works, err := b.inTurns(all, turnsOfRound, func(c *contestant) error {
		t, err := b.pushTurn(c, crowds[c])
		took[c] += t
		return err
	})
	if err != nil {
		return err
	}
	var each, rate []reading
	for i, c := range all {
		n := turnsOfRound * crowds[c].size()
		each = append(each, reading{c.name, works[i].each(n)})
		rate = append(rate, reading{c.name, float64(n) / took[c].Seconds()})
		if c.fleet != nil {
			b.judge(c.server, works[i])
		}
		if c.name == underTest && c.known() {
			b.report.add("relay core in use while pushing", "%", either, 100*works[i].cpu.Seconds()/took[c].Seconds())
			b.report.add("relay CPU in the kernel", "%", either, works[i].kernel())
		}
	}
	b.report.compare("CPU per push", "µs", lower, each)
	b.report.compare("pushes a second", "/s", higher, rate)
	for _, o := range each[1:] {
		if v := o.value / each[0].value; !math.IsNaN(v) {
			b.report.add("relay pushes per CPU second ÷ "+o.server, "", higher, v)
		}
	}
	return nil
}

// pushTurn is one server's turn: all publishers push, and all that they have
// pushed arrives. It took so long until the last answer.
func (b *bench) pushTurn(c *contestant, from *crowd) (took time.Duration, err error) {
	if c.fleet == nil {
		return from.send()
	}
	n := int64(from.size())
	before := c.sent
	defer b.bar.begin(c.name+": pushes", n, func() int64 { return c.delivered() - before })()
	c.sent += n
	if took, err = from.send(); err != nil {
		return took, err
	}
	return took, c.fleet.await(c.sent)
}

// crowd is several publishers that push to one server, each when it has the
// answer to the push before.
type crowd struct {
	to      endpoint
	members []*member
	payload int
	each    int // pushes of a member in a turn
}

func (b *bench) newCrowd(s *server) *crowd {
	return &crowd{to: s.endpoint, payload: b.payload, each: b.pushes / b.publishers / turnsOfRound, members: newMembers(b.conns, b.publishers)}
}

// size is the number of pushes in a turn.
func (c *crowd) size() int { return c.each * len(c.members) }

// send lets every member push and returns how long that took. The connections
// are new each time: a server may close those that are idle while it is
// another's turn.
func (c *crowd) send() (time.Duration, error) {
	began := time.Now()
	results := make(chan error, len(c.members))
	for _, m := range c.members {
		go func() { results <- c.sendAs(m) }() // awaited below
	}
	err := awaitAll(results, len(c.members))
	return time.Since(began), err
}

// awaitAll waits for n results of publishers, and returns the first error. The
// others have as a rule failed for the same reason: they are counted.
func awaitAll(results <-chan error, n int) error {
	var first error
	more := 0
	for range n {
		switch err := <-results; {
		case err == nil:
		case first == nil:
			first = err
		default:
			more++
		}
	}
	if more > 0 {
		return fmt.Errorf("%w (and %d more publishers failed)", first, more)
	}
	return first
}

func (c *crowd) sendAs(m *member) error {
	p, err := dialPublisher(c.to)
	if err != nil {
		return err
	}
	defer p.close()
	for range c.each {
		if err := p.push(m.next(), 0, c.payload); err != nil {
			return err
		}
	}
	return nil
}

// pushOpen is the open loop.
func (b *bench) pushOpen() error {
	b.report.run.Setup = fmt.Sprintf("%d connections, subjects of %d bytes, a round is %v of %s pushes a second over %d publishers",
		b.conns, b.payload, b.time, plain(b.rate), b.publishers)
	return b.together(b.contenders(""), func(servers []*server) error {
		for round := range b.rounds {
			b.note("round %d of %d", round+1, b.rounds)
			var q quantiles
			var cpu []reading
			for _, s := range servers {
				t := b.newTraffic(s, b.conns) // all are probes: there are no broadcasts
				t.unicast(b.rate)
				w, l, err := b.steady(s, t)
				if err != nil {
					return err
				}
				q.add(s.name, l.Unicast)
				b.report.timed(s.name, "of a push", l.Unicast)
				cpu = append(cpu, reading{s.name, w.each(int(t.singles()))})
			}
			q.enter(b, "push")
			b.report.compare("CPU per push", "µs", lower, cpu)
		}
		return nil
	})
}
