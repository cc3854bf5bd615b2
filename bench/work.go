package main

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
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
	clients      float64       // percent of a core that the clients and publishers used meanwhile
}

// measure takes the processor time of what the server does from rest to rest.
func (s *process) measure(do func() error) (w work, err error) {
	if _, err = s.quiet(); err != nil {
		return w, err
	}
	user, system, err := s.modes()
	if err != nil {
		return w, err
	}
	before, err := s.cpu()
	if err != nil {
		return w, err
	}
	began, busy, mine := time.Now(), s.coreBusy(), ownCPU()
	if err = do(); err != nil {
		return w, err
	}
	during, err := s.cpu()
	if err != nil {
		return w, err
	}
	w.took = time.Since(began)
	busy = s.coreBusy() - busy
	if s.cpuID >= 0 {
		w.others = 100 * max(0, (busy-(during-before)).Seconds()) / w.took.Seconds()
	}
	w.busy = 100 * (during - before).Seconds() / w.took.Seconds()
	w.clients = 100 * (ownCPU() - mine).Seconds() / w.took.Seconds()
	if _, err := s.usage(); err != nil {
		return w, err
	}
	after, err := s.quiet()
	if err != nil {
		return w, err
	}
	w.cpu = after - before
	w.user, w.system, err = s.modes()
	w.user, w.system = w.user-user, w.system-system
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

// coreBusy is the time that the server's core has not been idle, in steps of
// clockTick; 0 if the server has no core of its own.
func (s *process) coreBusy() (busy time.Duration) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0 // a hint to the reader, no figure depends on it
	}
	name := fmt.Sprintf("cpu%d", s.cpuID)
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

// ownCPU is the processor time of this process. Workers are not in it before
// they have ended.
func ownCPU() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0 // a hint to the reader, no figure depends on it
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
