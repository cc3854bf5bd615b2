package main

import (
	"errors"
	"fmt"
	"time"
)

// audience is the clients of an open loop: some probes, which get the pushes
// to single clients and whose latency is looked at, and the rest, who get the
// broadcasts only. The probes have a thread of their own, and the rest one
// that gives way: a push must not wait in the bench until thousands of others
// have read their broadcast.
type audience struct {
	probes *fleet
	rest   *fleet // nil if all are probes
}

// seat connects all of a run's clients, so many of them as probes. What it
// returns must be unseated, whatever the error.
func (b *bench) seat(s *server, probes int) (a *audience, err error) {
	a = &audience{}
	p := b.plan(s)
	p.Count = min(probes, b.conns)
	if a.probes, err = b.connect(s, p); err != nil || p.Count == b.conns {
		return a, err
	}
	p.First, p.Count, p.Background = p.Count, b.conns-p.Count, true
	a.rest, err = b.connect(s, p)
	return a, err
}

// unseat closes the clients and enters their account. It adds to *err what
// ended them.
func (b *bench) unseat(s *server, a *audience, t *traffic, err *error) {
	b.settle(s, a.probes, t.singles()+t.broadcasts()*a.probes.size(), err)
	b.settle(s, a.rest, t.broadcasts()*a.rest.size(), err)
}

// await waits until all of the traffic has come.
func (a *audience) await(t *traffic) error {
	err := a.probes.await(t.singles() + t.broadcasts()*a.probes.size())
	if a.rest != nil {
		err = errors.Join(err, a.rest.await(t.broadcasts()*a.rest.size()))
	}
	return err
}

// lap returns the latencies since the last lap.
func (a *audience) lap() (*latencies, error) {
	l, err := a.probes.lap()
	if a.rest == nil || err != nil {
		return l, err
	}
	more, err := a.rest.lap()
	if err == nil {
		l.merge(more)
	}
	return l, err
}

// size is the number of clients, 0 of a fleet that is not there.
func (f *fleet) size() int64 {
	if f == nil {
		return 0
	}
	return int64(f.plan.Count)
}

// steady runs traffic over fresh clients of a server, and returns the work and
// the latencies of it.
func (b *bench) steady(s *server, t *traffic) (w work, l *latencies, err error) {
	a, err := b.seat(s, t.clients)
	defer func() { b.unseat(s, a, t, &err) }()
	if err != nil {
		return w, nil, err
	}
	return b.heard(s, a, t, func() error { return b.drive(s, a, t) })
}

// heard measures what traffic makes a server do, and how long it took to
// come.
func (b *bench) heard(s *server, a *audience, t *traffic, do func() error) (w work, l *latencies, err error) {
	if w, err = s.measure(do); err != nil {
		return w, nil, err
	}
	b.judge(s, w)
	if l, err = a.lap(); err == nil {
		b.judgeLag(s, t, l)
	}
	return w, l, err
}

// drive runs traffic for the run's time and waits until all of it has come.
func (b *bench) drive(s *server, a *audience, t *traffic) error {
	if err := b.loop(s, t); err != nil {
		return err
	}
	return a.await(t)
}

// loop runs traffic for the run's time.
func (b *bench) loop(s *server, t *traffic) error {
	defer b.bar.during(s.name+": open loop", b.time)()
	return t.run(b.time)
}

// setting says in words what an open loop does.
func (b *bench) setting() string {
	return fmt.Sprintf("%v of %s pushes a second to %d probes and %s broadcasts a second", b.time.Round(time.Millisecond), plain(b.rate), min(b.probes, b.conns), plain(b.broadcastRate))
}
