package main

import (
	"errors"
	"fmt"
)

// slow measures what readers that have stalled do to the others: broadcasts
// and pushes at fixed rates, first to readers alone, then with some more
// clients that read nothing. The readers must get everything, and as fast; the
// server may hold a bounded number of bytes for each that stalls, and then
// closes it. At the end those that are still there read on, and must find no
// gap.
func (b *bench) slow() error {
	b.report.run.Setup = fmt.Sprintf("%d readers and %d clients that stall; subjects of %d bytes; a round is %s, without and with those that stall",
		b.conns, b.movers, b.payload, b.setting())
	return b.together([]starter{b.startRelay}, func(servers []*server) error {
		s := servers[0]
		for round := range b.rounds {
			b.note("round %d of %d", round+1, b.rounds)
			for _, stall := range []bool{false, true} {
				when := "alone"
				if stall {
					when = "beside clients that stall"
				}
				before, err := s.memory()
				if err != nil {
					return err
				}
				l, stalled, err := b.slowAt(s, stall)
				if err != nil {
					return err
				}
				var q, all quantiles
				q.add(s.name, l.Unicast)
				q.enter(b, "push "+when)
				all.add(s.name, l.Broadcast)
				all.enter(b, "broadcast "+when)
				b.report.timed(s.name, "of a push "+when, l.Unicast)
				b.report.timed(s.name, "of a broadcast "+when, l.Broadcast)
				if !stall {
					continue
				}
				b.report.add("clients that stalled and were closed", "", either, float64(stalled.Dismissed))
				after, err := s.memory()
				if err != nil {
					return err
				}
				if s.known() {
					grown := float64(after.peakRSS-before.rss) / 1024
					b.report.add("peak RSS over the start", "KiB", lower, grown)
					b.report.add("peak RSS over the start, for each that stalled", "KiB", lower, grown/float64(b.movers))
				}
				b.report.add("peak of all TCP buffers of the machine", "KiB", lower, float64(s.peak(usage{}).Sockets>>10))
			}
		}
		return nil
	})
}

// slowAt runs the traffic, with clients that stall or without.
func (b *bench) slowAt(s *server, stall bool) (l *latencies, stalled status, err error) {
	t := b.usual(s)
	a, err := b.seat(s, t.clients)
	defer func() { b.unseat(s, a, t, &err) }()
	if err != nil {
		return nil, stalled, err
	}
	if !stall {
		_, l, err = b.heard(s, a, t, func() error { return b.drive(s, a, t) })
		return l, stalled, err
	}
	p := b.moving(s)
	p.Stalled = true
	m, err := b.connect(s, p)
	defer func() { b.settle(s, m, 0, &err) }()
	if err != nil {
		return nil, stalled, err
	}
	_, l, err = b.heard(s, a, t, func() error { return b.drive(s, a, t) })
	stalled, _ = m.state()
	if err != nil {
		return l, stalled, err
	}
	return l, stalled, b.resume(m, t.broadcasts())
}

// resume lets clients that have stalled read on. Those that the server has not
// closed must get every broadcast.
func (b *bench) resume(m *fleet, broadcasts int64) error {
	m.order(order{Do: orderResume})
	st, err := m.until(func(st status) bool {
		return st.Obeyed >= m.orders && st.Delivered >= broadcasts*int64(st.Open)
	})
	if errors.Is(err, errStuck) {
		return fmt.Errorf("%d clients that had stalled read on and got %d messages, not %d each", st.Open, st.Delivered, broadcasts)
	}
	return err
}
