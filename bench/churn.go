package main

import (
	"errors"
	"fmt"
	"time"
)

// churn measures what coming and going costs those who stay, and what it
// leaves behind: some clients stay, others leave and are followed by new ones
// at a fixed rate, while pushes to those who stay and broadcasts to all go on.
// At the end everybody has gone, and the server must hold no more files than
// before.
func (b *bench) churn() error {
	b.report.run.Setup = fmt.Sprintf("%d connections that stay and %d that change, %s a second; subjects of %d bytes; a round is %s",
		b.conns, b.movers, plain(b.comings), b.payload, b.setting())
	return b.together(b.contenders(""), func(servers []*server) error {
		for round := range b.rounds {
			b.note("round %d of %d", round+1, b.rounds)
			var q quantiles
			var left, grown, comings, failed []reading
			for _, s := range servers {
				before, err := b.emptied(s)
				if err != nil {
					return err
				}
				l, movers, err := b.churnAt(s)
				if err != nil {
					return err
				}
				after, err := b.emptied(s)
				if err != nil {
					return err
				}
				if n := after.Descriptors - before.Descriptors; n > keptFiles {
					b.report.leaks = errors.Join(b.report.leaks, fmt.Errorf("%s holds %d files more than before its clients came", s.name, n))
				}
				b.failures(s, movers)
				q.add(s.name, l.Unicast)
				b.report.timed(s.name, "of a push under churn", l.Unicast)
				left = append(left, reading{s.name, float64(after.Descriptors - before.Descriptors)})
				grown = append(grown, reading{s.name, float64(after.RSS-before.RSS) / 1024})
				comings = append(comings, reading{s.name, float64(movers.Opened-int64(b.movers)) / b.time.Seconds()})
				failed = append(failed, reading{s.name, float64(movers.Failed)})
			}
			q.enter(b, "push")
			b.report.compare("clients that came a second", "/s", either, comings)
			b.report.compare("handshakes failed", "", lower, failed)
			b.report.compare("descriptors left behind", "", lower, left)
			b.report.compare("RSS left behind, by round", "KiB", lower, grown)
		}
		return nil
	})
}

// keptFiles is how many files a server may open for good with its first
// clients: an epoll or a pipe that it makes when it needs one.
const keptFiles = 16

// churnAt is one server's part of a round.
func (b *bench) churnAt(s *server) (l *latencies, movers status, err error) {
	t := b.usual(s)
	a, err := b.seat(s, t.clients)
	defer func() { b.unseat(s, a, t, &err) }()
	if err != nil {
		return nil, movers, err
	}
	m, err := b.connect(s, b.moving(s))
	defer func() { b.settle(s, m, 0, &err) }()
	if err != nil {
		return nil, movers, err
	}
	_, l, err = b.heard(s, a, t, func() (err error) {
		m.order(order{Do: orderChurn, Rate: b.comings})
		if err = b.drive(s, a, t); err != nil {
			return err
		}
		movers, err = b.halt(m)
		return err
	})
	return l, movers, err
}

// halt ends the coming and going and waits until all are there.
func (b *bench) halt(m *fleet) (status, error) {
	if err := m.tell(order{Do: orderChurn}); err != nil {
		return status{}, err
	}
	return m.connected()
}

// moving is the plan of the clients that come and go; their numbers follow
// those of the ones that stay.
func (b *bench) moving(s *server) plan {
	p := b.plan(s)
	p.First, p.Count, p.Tolerant, p.Lives, p.Background = b.conns, b.movers, true, true, true
	return p
}

// emptied waits until a server rests, and until its files do not become fewer
// any more.
func (b *bench) emptied(s *server) (u usage, err error) {
	const within = 5 * time.Second
	deadline := time.Now().Add(within)
	for last := int64(-1); ; {
		if _, err := s.quiet(); err != nil {
			return u, err
		}
		if u, err = s.usage(); err != nil || u.Descriptors == last || time.Now().After(deadline) {
			return u, err
		}
		last = u.Descriptors
	}
}
