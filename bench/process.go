package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// process is a program whose use of the machine is read from /proc. With pid
// 0, a server of which only the address is known, all of it is 0.
type process struct {
	name      string
	pid       int
	cpuID     int           // the core it may use; negative for any
	clientCPU int           // the clients' core; negative for any
	look      time.Duration // see quiet

	mu   sync.Mutex
	most usage // the largest values seen
}

// usage is what a process holds at one moment.
type usage struct {
	RSS         int64 `json:"rss"` // bytes, from a counter that may lag by some hundred KiB
	Threads     int64 `json:"threads"`
	Descriptors int64 `json:"descriptors"`
	// Sockets is the kernel memory of all TCP sockets of the machine, in
	// bytes: the kernel keeps no account of it by process.
	Sockets int64 `json:"kernel_socket_memory"`
}

// known reports whether there is a process to look at.
func (p *process) known() bool { return p.pid > 0 }

// cpu is the processor time that all threads of the process have used so far,
// those that have ended too, to the nanosecond.
func (p *process) cpu() (time.Duration, error) {
	if !p.known() {
		return 0, nil
	}
	var t unix.Timespec
	clock := int32(^p.pid<<3 | 2) // clock_getcpuclockid(3): the scheduler's clock
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("processor time of %s, process %d: %w; has it ended?", p.name, p.pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// clockTick is the unit of the times in /proc/PID/stat (USER_HZ).
const clockTick = 10 * time.Millisecond

// modes splits the processor time, in steps of clockTick.
func (p *process) modes() (user, system time.Duration, err error) {
	f, err := p.stat()
	if err != nil || f == nil {
		return 0, 0, err
	}
	// utime and stime are the 14th and the 15th field (proc_pid_stat(5)).
	u, err1 := strconv.ParseInt(string(f[11]), 10, 64)
	k, err2 := strconv.ParseInt(string(f[12]), 10, 64)
	return time.Duration(u) * clockTick, time.Duration(k) * clockTick, errors.Join(err1, err2)
}

// stat is /proc/PID/stat from its third field on: the name before it may hold
// spaces.
func (p *process) stat() ([][]byte, error) {
	if !p.known() {
		return nil, nil
	}
	stat, err := os.ReadFile(p.proc("stat"))
	if err != nil {
		return nil, err
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 22 {
		return nil, fmt.Errorf("%s: too few fields", p.proc("stat"))
	}
	return fields, nil
}

// usage reads what the process holds now, and remembers the largest values.
func (p *process) usage() (u usage, err error) {
	f, err := p.stat()
	if err != nil || f == nil {
		return u, err
	}
	u.Threads, _ = strconv.ParseInt(string(f[17]), 10, 64) // digits only
	pages, _ := strconv.ParseInt(string(f[21]), 10, 64)
	u.RSS = pages * int64(os.Getpagesize())
	if u.Descriptors, err = p.descriptors(); err != nil {
		return u, err
	}
	if u.Sockets, err = socketMemory(); err != nil {
		return u, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.most = p.most.larger(u)
	return u, nil
}

// descriptors is how many files the process has open. Since Linux 6.2 that is
// the size of the folder; before, its entries must be counted.
func (p *process) descriptors() (int64, error) {
	if !p.known() {
		return 0, nil
	}
	var s unix.Stat_t
	if err := unix.Stat(p.proc("fd"), &s); err != nil {
		return 0, fmt.Errorf("descriptors of %s, process %d: %w", p.name, p.pid, err)
	}
	if s.Size > 0 {
		return s.Size, nil
	}
	list, err := os.ReadDir(p.proc("fd"))
	return int64(len(list)), err
}

// socketMemory is "mem" of the line TCP in /proc/net/sockstat, in bytes.
func socketMemory() (int64, error) {
	const file = "/proc/net/sockstat"
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		for i := 1; i+1 < len(f) && f[0] == "TCP:"; i += 2 {
			if f[i] == "mem" {
				pages, err := strconv.ParseInt(f[i+1], 10, 64)
				return pages * int64(os.Getpagesize()), err
			}
		}
	}
	return 0, fmt.Errorf("%s: no memory of TCP", file)
}

// memory is what the process holds, in bytes.
type memory struct {
	rss, pss  int64
	anonymous int64 // private, not of a file: heap, stacks and the runtime's own
	peakRSS   int64
}

// memory walks the page tables (smaps_rollup), so that it is exact; the
// counters of status lag behind by up to some hundred KiB on several cores.
func (p *process) memory() (m memory, err error) {
	if !p.known() {
		return m, nil
	}
	err = errors.Join(
		readKiB(p.proc("smaps_rollup"), map[string]*int64{"Rss:": &m.rss, "Pss:": &m.pss, "Anonymous:": &m.anonymous}),
		readKiB(p.proc("status"), map[string]*int64{"VmHWM:": &m.peakRSS}))
	return m, err
}

func (p *process) proc(file string) string {
	return fmt.Sprintf("/proc/%d/%s", p.pid, file)
}

// readKiB reads lines such as "Rss:   1234 kB" into bytes.
func readKiB(file string, into map[string]*int64) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	missing := len(into)
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 2 || into[f[0]] == nil {
			continue
		}
		n, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		*into[f[0]] = n << 10
		missing--
	}
	if missing != 0 {
		return fmt.Errorf("%s: %d of the expected lines are not there", file, missing)
	}
	return nil
}

// peak is the larger of what was seen before and what this process has held.
func (p *process) peak(before usage) usage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return before.larger(p.most)
}

// larger takes each part from whichever has more of it.
func (u usage) larger(o usage) usage {
	return usage{max(u.RSS, o.RSS), max(u.Threads, o.Threads), max(u.Descriptors, o.Descriptors), max(u.Sockets, o.Sockets)}
}
