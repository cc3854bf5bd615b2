package main

import (
	"fmt"
	"time"
)

// storm measures what happens when everybody drops and returns at once, as
// after a load balancer's restart: how long until all are back, how long one
// handshake takes in the crowd, and whether a broadcast then reaches everyone.
// Who is turned away tries again; the latency of its handshake counts from its
// first try.
func (b *bench) storm() error {
	b.report.run.Setup = fmt.Sprintf("%d connections; a round is %d times that all drop and return, %d handshakes at a time",
		b.conns, b.storms, min(b.conns, b.dialing))
	return b.together(b.contenders(floorSockets), func(servers []*server) error {
		for round := range b.rounds {
			b.note("round %d of %d", round+1, b.rounds)
			var back, cpu, failed []reading
			var q quantiles
			for _, s := range servers {
				st, l, w, took, err := b.stormAt(s)
				if err != nil {
					return err
				}
				b.failures(s, st)
				b.judge(s, w)
				q.add(s.name, l.Handshakes)
				b.report.timed(s.name, "of a handshake in the storm", l.Handshakes)
				back = append(back, reading{s.name, took.Seconds() / float64(b.storms)})
				cpu = append(cpu, reading{s.name, w.each(b.conns * b.storms)})
				failed = append(failed, reading{s.name, float64(st.Failed)})
			}
			b.report.compare("time until all are back", "s", lower, back)
			b.report.compare("CPU per client that drops and returns", "µs", lower, cpu)
			b.report.compare("handshakes failed", "", lower, failed)
			q.enter(b, "handshake in the storm")
		}
		return nil
	})
}

// stormAt is one server's part of a round. The broadcast at its end goes to
// those who are back; the floor has none.
func (b *bench) stormAt(s *server) (st status, l *latencies, w work, took time.Duration, err error) {
	p := b.plan(s)
	p.Tolerant, p.Persistent = true, true
	f, err := b.connect(s, p)
	expected := int64(0)
	defer func() { b.settle(s, f, expected, &err) }()
	if err != nil {
		return st, nil, w, 0, err
	}
	if _, err = f.lap(); err != nil { // the first handshakes are no storm
		return st, nil, w, 0, err
	}
	w, err = s.measure(func() error {
		began := time.Now()
		for range b.storms {
			f.order(order{Do: orderStorm})
			if _, err := f.connected(); err != nil {
				return err
			}
		}
		took = time.Since(began)
		return nil
	})
	if err != nil {
		return st, nil, w, 0, err
	}
	if l, err = f.lap(); err != nil {
		return st, nil, w, 0, err
	}
	st, _ = f.state()
	if s.name != besideFloor {
		from, err := dialPublisher(s.endpoint)
		if err != nil {
			return st, l, w, took, err
		}
		defer from.close()
		expected = int64(st.Open)
		if err := from.push(message{to: everyone, seq: 1, at: b.clock.now()}, 0, b.payload); err != nil {
			return st, l, w, took, err
		}
		return st, l, w, took, f.await(expected)
	}
	return st, l, w, took, nil
}
