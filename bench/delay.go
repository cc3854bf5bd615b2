package main

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"
)

// delay measures delayed pushes: how fast they are accepted, what one of them
// holds while it waits, and how late each comes when many are due within the
// same second. The relay without a data_dir beside the one that has it tells
// the price of keeping them on disk.
func (b *bench) delay() error {
	b.report.run.Setup = fmt.Sprintf("%d connections, subjects of %d bytes; a round is %d pushes over %d publishers, due over %v that begin after %v; data on %s",
		b.conns, b.payload, b.delayed, b.publishers, b.within, b.ahead, b.fileSystem())
	if b.restart {
		return b.delayOverRestart()
	}
	contenders := b.contenders("")
	switch {
	case b.compares(besideMemory) && b.target == "":
		contenders = append(contenders, b.startWith(besideInMemory, dataInMemory))
	case b.compares(besideMemory):
		b.report.warn("%s is left out: the server was given, and runs with the data_dir that it has", besideInMemory)
	}
	for round := range b.rounds {
		b.note("round %d of %d", round+1, b.rounds)
		var all []delayed
		for _, start := range contenders {
			d, err := b.delayAt(start)
			if err != nil {
				return err
			}
			all = append(all, d)
		}
		b.enterDelayed(all)
	}
	return nil
}

// delayed is what one server did in a round.
type delayed struct {
	server string
	count  int64
	due    int64         // when the first is, on the bench's clock
	took   time.Duration // to accept them
	held   float64       // bytes of private memory each, while they waited
	late   *latencies
	work   work
}

// enterDelayed enters a round.
func (b *bench) enterDelayed(all []delayed) {
	var rate, each, memory, early []reading
	var q quantiles
	for _, d := range all {
		b.report.timed(d.server, "of a delayed push behind its due time", d.late.Unicast)
		q.add(d.server, d.late.Unicast)
		rate = append(rate, reading{d.server, float64(d.count) / d.took.Seconds()})
		each = append(each, reading{d.server, d.work.each(int(d.count))})
		memory = append(memory, reading{d.server, d.held})
		early = append(early, reading{d.server, float64(d.late.Early)})
	}
	b.report.compare("delayed pushes accepted a second", "/s", higher, rate)
	b.report.compare("CPU per delayed push, accepted and delivered", "µs", lower, each)
	b.report.compare("memory per waiting push, with its payload", "B", lower, memory)
	b.report.compare("delayed pushes that came early", "", lower, early)
	q.enter(b, "lateness")
}

// delayAt is one server's part of a round.
func (b *bench) delayAt(start starter) (d delayed, err error) {
	err = b.with(start, func(s *server) (err error) {
		f, err := b.connect(s, b.plan(s))
		defer func() { b.settle(s, f, d.count, &err) }()
		if err != nil {
			return err
		}
		d.work, err = s.measure(func() error {
			if err := b.accept(s, &d); err != nil {
				return err
			}
			return b.fall(s, f, &d)
		})
		if err == nil {
			d.late, err = f.lap()
		}
		return err
	})
	return d, err
}

// accept has a server take all pushes.
func (b *bench) accept(s *server, d *delayed) error {
	d.server = s.name
	before, err := s.memory()
	if err != nil {
		return err
	}
	began := time.Now()
	d.due = b.clock.now() + b.ahead.Nanoseconds()
	if d.count, err = b.sendDelayed(s, d.due); err != nil {
		return err
	}
	d.took = time.Since(began)
	if _, err = s.quiet(); err != nil { // what accepting left behind is not what waiting takes
		return err
	}
	after, err := s.memory()
	d.held = math.NaN()
	if s.known() && b.clock.now() < d.due { // else some have gone already
		d.held = float64(after.anonymous-before.anonymous) / float64(d.count)
	}
	return err
}

// fall waits until all pushes have come.
func (b *bench) fall(s *server, f *fleet, d *delayed) error {
	end := b.bar.during(s.name+": until they are due", time.Duration(d.due-b.clock.now()))
	b.clock.until(d.due)
	end()
	defer b.bar.begin(s.name+": delivering", d.count, func() int64 {
		st, _ := f.state()
		return st.Delivered
	})()
	return f.await(d.count)
}

// sendDelayed has every publisher send its share, all of them due in the time
// that begins at due.
func (b *bench) sendDelayed(s *server, due int64) (int64, error) {
	members := newMembers(b.conns, b.publishers)
	var sent atomic.Int64
	defer b.bar.begin(s.name+": accepting", int64(b.delayed), sent.Load)()
	results := make(chan error, len(members))
	for i, m := range members {
		share := b.delayed*(i+1)/len(members) - b.delayed*i/len(members)
		go func() { results <- b.sendShare(s, m, share, due, &sent) }() // awaited below
	}
	err := awaitAll(results, len(members))
	return sent.Load(), err
}

// sendShare is one publisher's part. A client's pushes go out together, with
// the same delay: so the order in which they are due is the order of their
// numbers.
func (b *bench) sendShare(s *server, m *member, share int, due int64, sent *atomic.Int64) error {
	p, err := dialPublisher(s.endpoint)
	if err != nil {
		return err
	}
	defer p.close()
	for i := range m.sent {
		n := share*(i+1)/len(m.sent) - share*i/len(m.sent)
		if n == 0 {
			continue
		}
		now := b.clock.now()
		if now > due {
			return b.tooLate(s, "accept the pushes")
		}
		delay := delayOf(m.first+i*m.step, b.within, due, now)
		for range n {
			msg := m.to(i)
			msg.at = b.clock.now() + int64(delay)*1e9
			sent.Add(1)
			if err := p.push(msg, delay, b.payload); err != nil {
				return err
			}
		}
	}
	return nil
}

// delayOf is the delay of a client's pushes, in whole seconds as a push has
// them, so that they are due in the client's own second out of those that
// begin at due. The clients of a second are those of all publishers and of the
// whole time of sending, so that its pushes are spread over it.
func delayOf(client int, within time.Duration, due, now int64) int {
	second := client % int(within/time.Second)
	return int((due + int64(second)*1e9 - now + 1e9 - 1) / 1e9)
}

// tooLate says that pushes fell due before something was done.
func (b *bench) tooLate(s *server, what string) error {
	return fmt.Errorf("%s took more than %v to %s: give it more time with -ahead, or less to do with -delayed", s.name, b.ahead, what)
}
