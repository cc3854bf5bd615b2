package main

import (
	"fmt"
	"time"
)

// ramps measures how fast clients get in: so many handshakes under way at
// once until all are open. Failures are counted and are no end.
func (b *bench) ramps() error {
	b.report.run.Setup = fmt.Sprintf("%d connections, %d handshakes at a time", b.conns, b.dialing)
	for round := range b.rounds {
		b.note("round %d of %d", round+1, b.rounds)
		var rate, cpu, failed []reading
		var q quantiles
		for _, start := range b.contenders(floorSockets) {
			err := b.with(start, func(s *server) (err error) {
				var f *fleet
				defer func() { b.settle(s, f, 0, &err) }()
				var took time.Duration
				w, err := s.measure(func() (err error) {
					p := b.plan(s)
					p.Tolerant, p.Payload = true, minSubject
					began := time.Now()
					f, err = b.connect(s, p)
					took = time.Since(began)
					return err
				})
				if err != nil {
					return err
				}
				l, err := f.lap()
				if err != nil {
					return err
				}
				st, _ := f.state()
				b.failures(s, st)
				b.judge(s, w)
				rate = append(rate, reading{s.name, float64(st.Opened) / took.Seconds()})
				cpu = append(cpu, reading{s.name, w.each(int(max(st.Opened, 1)))})
				failed = append(failed, reading{s.name, float64(st.Failed)})
				q.add(s.name, l.Handshakes)
				b.report.timed(s.name, "of a handshake", l.Handshakes)
				return nil
			})
			if err != nil {
				return err
			}
		}
		b.report.compare("handshakes a second", "/s", higher, rate)
		b.report.compare("CPU per handshake", "µs", lower, cpu)
		b.report.compare("handshakes failed", "", lower, failed)
		q.enter(b, "handshake")
	}
	return nil
}

// failures says why handshakes failed.
func (b *bench) failures(s *server, st status) {
	if st.Failed > 0 {
		b.report.warn("%s: %d handshakes failed, the first with: %s", s.name, st.Failed, st.Reason)
	}
}
