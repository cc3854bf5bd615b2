package relaytest

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of the CPU times in /proc/PID/stat on Linux (USER_HZ).
const clockTick = 10 * time.Millisecond

// Descriptors is the number of the process's open sockets, pipes and files.
// Event descriptors (epoll, eventfd, timerfd) are not counted: the Go runtime
// opens its own long after the start, at its first timer.
func (p *Process) Descriptors() int {
	p.t.Helper()
	n := 0
	for _, target := range p.openFiles() {
		if !strings.HasPrefix(target, "anon_inode:") {
			n++
		}
	}
	return n
}

// AllDescriptors is the number that counts against the limit of open files.
func (p *Process) AllDescriptors() int {
	p.t.Helper()
	return len(p.openFiles())
}

// WaitDescriptors waits until at most n sockets, pipes and files are open.
func (p *Process) WaitDescriptors(n int) {
	p.t.Helper()
	if err := WaitFor(func() bool { return p.Descriptors() <= n }); err != nil {
		p.t.Fatalf("%d descriptors are open, want at most %d:\n%s", p.Descriptors(), n, strings.Join(p.openFiles(), "\n"))
	}
}

// openFiles lists what the process's descriptors are.
func (p *Process) openFiles() []string {
	p.t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd/", p.PID())
	entries, err := os.ReadDir(dir)
	if err != nil {
		p.t.Fatalf("descriptors: %v", err)
	}
	var targets []string
	for _, e := range entries {
		target, err := os.Readlink(dir + e.Name())
		if err == nil { // otherwise it was closed since
			targets = append(targets, target)
		}
	}
	return targets
}

// RSS is the process's resident memory in bytes.
func (p *Process) RSS() int64 {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		p.t.Fatalf("memory: %v", err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				p.t.Fatalf("memory: %v", err)
			}
			return kib << 10
		}
	}
	p.t.Fatal("memory: no VmRSS")
	return 0
}

// CPU is the processor time that the process has used, user and system.
func (p *Process) CPU() time.Duration {
	p.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		p.t.Fatalf("processor time: %v", err)
	}
	// The name in parentheses may hold spaces; utime and stime are fields 14
	// and 15 of the line, 12 and 13 after it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			p.t.Fatalf("processor time: %v", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick
}
