package main

import (
	"errors"
	"fmt"
	"time"
)

// delaySeconds is how long the delayed pushes of a soak wait.
const delaySeconds = 5

// soak is all of it for a long time: pushes, broadcasts and delayed pushes at
// fixed rates, clients that come and go, and a sample at regular times, so
// that what grows or slows down shows.
func (b *bench) soak() error {
	b.report.run.Setup = fmt.Sprintf("%d connections that stay and %d that change, %s a second; subjects of %d bytes; %s, and %s delayed pushes a second",
		b.conns, b.movers, plain(b.comings), b.payload, b.setting(), plain(b.delayRate))
	return b.with(b.startRelay, func(s *server) error {
		before, err := b.emptied(s)
		if err != nil {
			return err
		}
		if err := b.soakAt(s); err != nil {
			return err
		}
		after, err := b.emptied(s)
		if err != nil {
			return err
		}
		if s.known() {
			b.report.add("relay descriptors left behind", "", lower, float64(after.Descriptors-before.Descriptors))
		}
		if n := after.Descriptors - before.Descriptors; n > keptFiles {
			b.report.leaks = errors.Join(b.report.leaks, fmt.Errorf("%s holds %d files more than before its clients came", s.name, n))
		}
		return nil
	})
}

func (b *bench) soakAt(s *server) (err error) {
	t := b.usual(s)
	t.delayed(b.delayRate, delaySeconds)
	a, err := b.seat(s, t.clients)
	defer func() { b.unseat(s, a, t, &err) }()
	if err != nil {
		return err
	}
	m, err := b.connect(s, b.moving(s))
	defer func() { b.settle(s, m, 0, &err) }()
	if err != nil {
		return err
	}
	m.order(order{Do: orderChurn, Rate: b.comings})
	began := time.Now()

	sent := make(chan error, 1)
	go func() { sent <- b.loop(s, t) }() // awaited below
	all := newLatencies()
	sampled, samples := time.Now(), 0
	tick := time.NewTicker(b.sampling)
	defer tick.Stop()
	for running := true; running; {
		select {
		case sampled = <-tick.C:
		case err = <-sent:
			if running = false; err != nil {
				return err
			}
			if samples > 0 && time.Since(sampled) < b.sampling/2 {
				continue // too short to tell something by itself
			}
		}
		samples++
		if err := b.soakSample(s, a, all); err != nil {
			if running {
				err = errors.Join(err, <-sent)
			}
			return err
		}
	}
	churned := time.Since(began)
	st, err := b.halt(m)
	if err != nil {
		return err
	}
	// What is still to come, under no load, is in the account and no sample.
	if err := a.await(t); err != nil {
		return err
	}
	rest, err := a.lap()
	if err != nil {
		return err
	}
	all.merge(rest)
	b.failures(s, st)
	b.report.timed(s.name, "of a push, also delayed", all.Unicast)
	b.report.timed(s.name, "of a broadcast, to each client", all.Broadcast)
	b.report.add("relay clients that came a second", "/s", either, float64(st.Opened-int64(b.movers))/churned.Seconds())
	b.report.add("relay handshakes failed", "", lower, float64(st.Failed))
	b.report.add("relay delayed pushes that came early", "", lower, float64(all.Early))
	return nil
}

// soakSample enters one sample with the latencies since the last.
func (b *bench) soakSample(s *server, a *audience, all *latencies) error {
	l, err := a.lap()
	if err != nil {
		return err
	}
	v := b.samplers[s].look(l)
	b.report.sampled(v)
	all.merge(l)
	if l.Unicast.count() == 0 {
		return nil
	}
	b.report.add("push p50, by sample", "µs", lower, v.P50)
	b.report.add("push p99, by sample", "µs", lower, v.P99)
	b.report.add("push max, by sample", "µs", lower, v.Max)
	if s.known() {
		b.report.add("RSS, by sample", "KiB", lower, float64(v.RSS>>10))
		b.report.add("descriptors, by sample", "", lower, float64(v.Descriptors))
		b.report.add("threads, by sample", "", lower, float64(v.Threads))
	}
	b.note("%7s  %d open, %d delivered, push p99 %s ms, max %s ms, RSS %d KiB, %d files", time.Duration(v.Seconds*1e9).Round(time.Second),
		v.Open, v.Delivered, short(v.P99/1e3), short(v.Max/1e3), v.RSS>>10, v.Descriptors)
	return nil
}
