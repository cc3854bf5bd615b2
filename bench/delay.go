package main

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// delay measures delayed pushes: how fast they are accepted, what one of them
// holds while it waits, and how late each comes when all are due within the
// same second.
func (b *bench) delay() error {
	b.report.run.Setup = fmt.Sprintf("%d connections, subjects of %d bytes; a round is %d pushes over %d publishers, all due within the second that begins after %v",
		b.conns, b.payload, b.delayed, b.publishers, b.ahead)
	for round := range b.rounds {
		b.note("round %d of %d", round+1, b.rounds)
		var rate, each, memory, early []reading
		var q quantiles
		for _, start := range b.contenders("") {
			err := b.with(start, func(s *server) error {
				d, err := b.delayAt(s)
				if err != nil {
					return err
				}
				b.report.timed(s.name, "of a delayed push behind its due time", d.late.Unicast)
				q.add(s.name, d.late.Unicast)
				rate = append(rate, reading{s.name, float64(d.count) / d.took.Seconds()})
				each = append(each, reading{s.name, d.work.each(int(d.count))})
				memory = append(memory, reading{s.name, d.held})
				early = append(early, reading{s.name, float64(d.late.Early)})
				return nil
			})
			if err != nil {
				return err
			}
		}
		b.report.compare("delayed pushes accepted a second", "/s", higher, rate)
		b.report.compare("CPU per delayed push, accepted and delivered", "µs", lower, each)
		b.report.compare("memory per waiting push, with its payload", "B", lower, memory)
		b.report.compare("delayed pushes that came early", "", lower, early)
		q.enter(b, "lateness")
	}
	return nil
}

// delayed is what one server did in a round.
type delayed struct {
	count int64
	took  time.Duration // to accept them
	held  float64       // bytes of private memory each, while they waited
	late  *latencies
	work  work
}

func (b *bench) delayAt(s *server) (d delayed, err error) {
	f, err := b.connect(s, b.plan(s))
	defer func() { b.settle(s, f, d.count, &err) }()
	if err != nil {
		return d, err
	}
	d.work, err = s.measure(func() error {
		before, err := s.memory()
		if err != nil {
			return err
		}
		due := b.clock.now() + b.ahead.Nanoseconds()
		began := time.Now()
		if d.count, err = b.sendDelayed(s, due); err != nil {
			return err
		}
		d.took = time.Since(began)
		after, err := s.memory()
		if err != nil {
			return err
		}
		d.held = math.NaN()
		if s.known() {
			d.held = float64(after.anonymous-before.anonymous) / float64(d.count)
		}
		end := b.bar.during(s.name+": until they are due", time.Duration(due-b.clock.now()))
		b.clock.until(due)
		end()
		return f.await(d.count)
	})
	if err == nil {
		d.late, err = f.lap()
	}
	return d, err
}

// sendDelayed has every publisher send its share, all of them due in the
// second that begins at due. A client's pushes go out together, with the same
// delay: so the order in which they are due is the order of their numbers.
func (b *bench) sendDelayed(s *server, due int64) (sent int64, err error) {
	members := newMembers(b.conns, b.publishers)
	type done struct {
		sent int64
		err  error
	}
	results := make(chan done, len(members))
	for i, m := range members {
		share := b.delayed*(i+1)/len(members) - b.delayed*i/len(members)
		go func() { // awaited below
			n, err := b.sendShare(s, m, share, due)
			results <- done{n, err}
		}()
	}
	for range members {
		r := <-results
		sent += r.sent
		err = errors.Join(err, r.err)
	}
	return sent, err
}

func (b *bench) sendShare(s *server, m *member, share int, due int64) (sent int64, err error) {
	p, err := dialPublisher(s.endpoint)
	if err != nil {
		return 0, err
	}
	defer p.close()
	for i := range m.sent {
		n := share*(i+1)/len(m.sent) - share*i/len(m.sent)
		now := b.clock.now()
		if n > 0 && now > due {
			return sent, fmt.Errorf("%s took more than %v to accept the pushes: give it more time with -ahead, or less to do with -delayed", s.name, b.ahead)
		}
		seconds := int((due - now + 1e9 - 1) / 1e9)
		for range n {
			msg := m.to(i)
			msg.at = b.clock.now() + int64(seconds)*1e9
			sent++
			if err := p.push(msg, seconds, b.payload); err != nil {
				return sent, err
			}
		}
	}
	return sent, nil
}
