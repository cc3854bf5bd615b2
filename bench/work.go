package main

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	quietLooks  = 5
	quietCPU    = 200 * time.Microsecond // in a look: with the usual 100 ms, 0.2 % of a core
	quietMemory = 16 << 10               // bytes
	quietWithin = 30 * time.Second
)

// quiet waits until the process has done nothing and kept its size for some
// looks in a row, and returns the processor time up to the first of them: what
// it uses while we look does not count as work.
func (s *process) quiet() (worked time.Duration, err error) {
	if !s.known() {
		return 0, nil
	}
	deadline := time.Now().Add(quietWithin)
	worked, err = s.cpu()
	if err != nil {
		return 0, err
	}
	before, size := worked, int64(0)
	for looks := 0; looks < quietLooks; looks++ {
		if time.Now().After(deadline) {
			return 0, fmt.Errorf("%s does not come to rest within %v", s.name, quietWithin)
		}
		time.Sleep(s.look) // between two looks at the condition
		now, err := s.cpu()
		if err != nil {
			return 0, err
		}
		m, err := s.memory()
		if err != nil {
			return 0, err
		}
		if now-before > quietCPU || max(m.rss-size, size-m.rss) > quietMemory {
			worked, looks = now, -1
		}
		before, size = now, m.rss
	}
	return worked, nil
}

// work is the processor time of something that a server did.
type work struct {
	cpu          time.Duration // to the nanosecond
	user, system time.Duration // in steps of clockTick
	others       float64       // percent of the core's time that other programs took; 0 if the core is not known
	took         time.Duration // until the clients had everything
	busy         float64       // percent of a core that the server used meanwhile
	clients      float64       // percent of their core that was busy meanwhile: clients and publishers; 0 if they have none
}

// measure takes the processor time of what the server does from rest to rest.
func (s *process) measure(do func() error) (work, error) {
	m, err := s.meter()
	if err != nil {
		return work{}, err
	}
	if err = m.turn(do); err != nil {
		return work{}, err
	}
	return m.read()
}

// meter takes the processor time of what a server does in several turns, while
// others may have theirs in between.
type meter struct {
	process *process

	before, user, system time.Duration // that the server had used

	// During the turns.
	took          time.Duration
	used          time.Duration // of the processor, by the server
	core, clients time.Duration // that the server's core and the clients' were busy
}

// meter waits for the server to rest and begins.
func (s *process) meter() (m *meter, err error) {
	if _, err = s.quiet(); err != nil {
		return nil, err
	}
	m = &meter{process: s}
	if m.user, m.system, err = s.modes(); err != nil {
		return nil, err
	}
	m.before, err = s.cpu()
	return m, err
}

// turn is one of them.
func (m *meter) turn(do func() error) error {
	s := m.process
	before, err := s.cpu()
	if err != nil {
		return err
	}
	began, core, clients := time.Now(), coreBusy(s.cpuID), coreBusy(s.clientCPU)
	if err = do(); err != nil {
		return err
	}
	after, err := s.cpu()
	if err != nil {
		return err
	}
	m.took += time.Since(began)
	m.used += after - before
	m.core += coreBusy(s.cpuID) - core
	m.clients += coreBusy(s.clientCPU) - clients
	_, err = s.usage()
	return err
}

// read waits for the server to rest and returns what all turns have cost.
func (m *meter) read() (w work, err error) {
	s := m.process
	after, err := s.quiet()
	if err != nil {
		return w, err
	}
	w.cpu, w.took = after-m.before, m.took
	percent := 100 / m.took.Seconds()
	if s.cpuID >= 0 {
		w.others = percent * max(0, m.core-m.used).Seconds()
	}
	w.busy, w.clients = percent*m.used.Seconds(), percent*m.clients.Seconds()
	w.user, w.system, err = s.modes()
	w.user, w.system = w.user-m.user, w.system-m.system
	return w, err
}

// each is the processor time for one of n things, in microseconds; NaN if the
// process is not known.
func (w work) each(n int) float64 {
	if w.cpu == 0 {
		return math.NaN()
	}
	return float64(w.cpu.Nanoseconds()) / 1e3 / float64(n)
}

// kernel is the part of the time that was spent in the kernel, in percent.
func (w work) kernel() float64 {
	return 100 * float64(w.system) / float64(max(w.user+w.system, 1))
}

// coreBusy is the time that a core has not been idle, in steps of clockTick; 0
// if it is negative.
func coreBusy(core int) (busy time.Duration) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0 // a hint to the reader, no figure depends on it
	}
	name := fmt.Sprintf("cpu%d", core)
	for line := range strings.Lines(string(stat)) {
		// cpuN user nice system idle iowait irq softirq steal (proc_stat(5))
		f := strings.Fields(line)
		if len(f) < 9 || f[0] != name {
			continue
		}
		for _, i := range []int{1, 2, 3, 6, 7, 8} {
			ticks, _ := strconv.ParseInt(f[i], 10, 64) // digits only
			busy += time.Duration(ticks) * clockTick
		}
	}
	return busy
}
