package main

import (
	"fmt"
	"time"
)

// delayOverRestart is delay with a crash in between: when all pushes are
// accepted the relay is killed, and started again in the same folder and on
// the same port before the first is due. Its clients come back, and must get
// every push once.
func (b *bench) delayOverRestart() error {
	b.report.run.Workload += " -restart"
	b.report.run.Setup += "; when all are accepted the relay is killed (SIGKILL) and started again"
	if left := b.leftOut(); left != "" {
		b.note("%s", left)
		b.report.warn("%s", left)
	}
	for round := range b.rounds {
		b.note("round %d of %d", round+1, b.rounds)
		d, r, err := b.restartAt()
		if err != nil {
			return err
		}
		b.enterDelayed([]delayed{d})
		enter := func(quantity, unit string, value float64) {
			b.report.compare(quantity, unit, lower, []reading{{d.server, value}})
		}
		const mib = 1 << 20
		enter("start until /health answers, with all pushes waiting", "s", r.start.Seconds())
		enter("CPU of that start", "s", r.work.Seconds())
		enter("RSS after that start", "MiB", float64(r.rest.rss)/mib)
		enter("peak RSS of that start", "MiB", float64(r.rest.peakRSS)/mib)
		enter("memory per waiting push after that start", "B", float64(r.rest.anonymous-r.empty.anonymous)/float64(d.count))
		enter("time until all clients are back after that start", "s", r.back.Seconds())
	}
	return nil
}

// leftOut says which yardsticks have no place beside a restart.
func (b *bench) leftOut() (text string) {
	for _, name := range []string{besideRoutine, besideMemory} {
		if b.compares(name) {
			if text != "" {
				text += " and "
			}
			text += name
		}
	}
	if text != "" {
		text += ": left out, as what waits there is lost with the process"
	}
	return text
}

// restarted is what a restart took.
type restarted struct {
	empty memory        // of the first process before it had anything
	rest  memory        // of the second, when it had come to rest
	start time.Duration // from its start until it answered
	work  time.Duration // processor time of the start
	back  time.Duration // until all clients were connected again
}

// restartAt is a round.
func (b *bench) restartAt() (d delayed, r restarted, err error) {
	in, err := b.install(underTest, dataOnDisk)
	if err != nil {
		return d, r, err
	}
	var f *fleet
	err = b.with(in.start, func(s *server) (err error) {
		s.doomed = true
		defer func() {
			if err != nil {
				b.settle(s, f, d.count, &err)
			}
		}()
		f, err = b.fillUp(s, &d, &r)
		return err
	})
	if err != nil {
		return d, r, err
	}
	began, answered := time.Now(), false
	err = b.with(in.start, func(s *server) (err error) {
		answered = true
		b.samplers[s].add(f)
		defer func() { b.settle(s, f, d.count, &err) }()
		if err = s.awaitHealth(); err != nil {
			return err
		}
		r.start = time.Since(began)
		return b.comeBack(s, f, &d, &r)
	})
	if !answered { // nobody is there to send what waits
		t, _ := f.end(d.count)
		b.report.count(in.name, t)
	}
	return d, r, err
}

// fillUp has a fresh server accept the pushes, before clients that will
// outlive it. The fleet must be settled if it is not nil, whatever the error.
func (b *bench) fillUp(s *server, d *delayed, r *restarted) (f *fleet, err error) {
	if _, err = s.quiet(); err != nil {
		return nil, err
	}
	if r.empty, err = s.memory(); err != nil {
		return nil, err
	}
	p := b.plan(s)
	p.Patient = true
	if f, err = b.connect(s, p); err != nil {
		return f, err
	}
	if d.work, err = s.measure(func() error { return b.accept(s, d) }); err != nil {
		return f, err
	}
	if b.clock.now() > d.due {
		return f, b.tooLate(s, "accept the pushes and come to rest")
	}
	if st, _ := f.state(); st.Delivered > 0 { // or one that comes again would pass for the first
		err = fmt.Errorf("%d pushes came long before they were due", st.Delivered)
	}
	return f, err
}

// comeBack lets the clients return to a server that was started again, and
// waits for what they have to get.
func (b *bench) comeBack(s *server, f *fleet, d *delayed, r *restarted) (err error) {
	if r.work, err = s.quiet(); err != nil {
		return err
	}
	if r.rest, err = s.memory(); err != nil {
		return err
	}
	began := time.Now()
	f.order(order{Do: orderStorm})
	st, err := f.connected()
	if err != nil {
		return err
	}
	r.back = time.Since(began)
	if st.Open != b.conns {
		return fmt.Errorf("%d of %d clients came back: %s", st.Open, b.conns, st.Reason)
	}
	w, err := s.measure(func() error {
		if b.clock.now() > d.due {
			return b.tooLate(s, "accept the pushes and start again")
		}
		return b.fall(s, f, d)
	})
	if err != nil {
		return err
	}
	d.work.cpu += w.cpu
	d.late, err = f.lap()
	return err
}
