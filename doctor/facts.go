// Package doctor works out how many connections a relay can hold on one
// machine, which limit stops it there, and the line that moves that limit. It
// reads and computes; it changes nothing.
//
// Facts are what the machine says of itself, costs are what a connection was
// measured to need (model.go), a check holds one against the other, and a
// report is all checks as a table or as JSON. What cannot be read is unknown,
// and an unknown fact never decides.
package doctor

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// Number is a fact that may be unknown. The zero value is.
type Number struct {
	n     int64
	known bool
}

// Known is a fact.
func Known(n int64) Number { return Number{n, true} }

// Get returns the number and whether it is known.
func (v Number) Get() (int64, bool) { return v.n, v.known }

// String is the number, "no limit" for one that no machine reaches, or
// "unknown".
func (v Number) String() string {
	switch {
	case !v.known:
		return "unknown"
	case v.n >= unlimited:
		return "no limit"
	}
	return strconv.FormatInt(v.n, 10)
}

// unlimited is where numbers mean no limit: the kernel writes 2^63 less a page
// or 2^64-1.
const unlimited = math.MaxInt64 / 2

// Triple is a sysctl of three numbers, such as tcp_mem.
type Triple [3]Number

func (t Triple) String() string {
	return t[0].String() + " " + t[1].String() + " " + t[2].String()
}

// Facts are what a machine says of itself. Sizes are bytes unless a name says
// otherwise.
type Facts struct {
	SoftFiles, HardFiles   Number // RLIMIT_NOFILE of this process
	NrOpen                 Number // fs.nr_open: what RLIMIT_NOFILE can be
	FileMax, FilesOpen     Number // fs.file-max and what of it is in use
	EpollWatches           Number // fs.epoll.max_user_watches
	Somaxconn              Number // net.core.somaxconn
	SynBacklog, SynCookies Number // net.ipv4.tcp_max_syn_backlog, tcp_syncookies
	LowPort, HighPort      Number // net.ipv4.ip_local_port_range
	ReservedPorts          string // net.ipv4.ip_local_reserved_ports: "3000,8000-8010"
	TCPMem                 Triple // net.ipv4.tcp_mem, pages
	TCPMemUsed             Number // of it in use, pages
	TCPRmem, TCPWmem       Triple // net.ipv4.tcp_rmem, tcp_wmem
	Congestion             string // net.ipv4.tcp_congestion_control; "" = unknown
	Tracked, MaxTracked    Number // nf_conntrack_count, nf_conntrack_max; unknown if not loaded
	MemTotal, MemAvailable Number // of the machine
	GroupMemory            Number // smallest limit of the control groups
	MaxPids, Pids          Number // of the control group that is nearest its limit
	Cores                  int    // that may run Go code
	Container              bool   // in a container of Docker, Podman or Kubernetes
	groupMemoryFile        string
}

// Machine is where facts are read from.
type Machine struct {
	Root  fs.FS                                 // of the file system
	Files func() (soft, hard uint64, err error) // RLIMIT_NOFILE
	Cores int                                   // that may run Go code
}

// ThisMachine is the one that this process runs on.
func ThisMachine() Machine {
	return Machine{Root: os.DirFS("/"), Files: openFiles, Cores: runtime.GOMAXPROCS(0)}
}

func openFiles() (soft, hard uint64, err error) {
	var l syscall.Rlimit
	err = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l)
	return l.Cur, l.Max, err
}

// Facts reads everything. What is not there stays unknown.
func (m Machine) Facts() Facts {
	sysctl := func(name string) []Number { return numbers(m.text("proc/sys/" + name)) }
	f := Facts{
		NrOpen:        at(sysctl("fs/nr_open"), 0),
		FileMax:       at(sysctl("fs/file-max"), 0),
		FilesOpen:     at(sysctl("fs/file-nr"), 0),
		EpollWatches:  at(sysctl("fs/epoll/max_user_watches"), 0),
		Somaxconn:     at(sysctl("net/core/somaxconn"), 0),
		SynBacklog:    at(sysctl("net/ipv4/tcp_max_syn_backlog"), 0),
		SynCookies:    at(sysctl("net/ipv4/tcp_syncookies"), 0),
		ReservedPorts: strings.TrimSpace(m.text("proc/sys/net/ipv4/ip_local_reserved_ports")),
		TCPMem:        triple(sysctl("net/ipv4/tcp_mem")),
		TCPRmem:       triple(sysctl("net/ipv4/tcp_rmem")),
		TCPWmem:       triple(sysctl("net/ipv4/tcp_wmem")),
		Congestion:    strings.TrimSpace(m.text("proc/sys/net/ipv4/tcp_congestion_control")),
		Tracked:       at(sysctl("net/netfilter/nf_conntrack_count"), 0),
		MaxTracked:    at(sysctl("net/netfilter/nf_conntrack_max"), 0),
		Cores:         max(m.Cores, 1),
		Container:     m.exists(".dockerenv") || m.exists("run/.containerenv") || m.exists("run/secrets/kubernetes.io"),
	}
	ports := sysctl("net/ipv4/ip_local_port_range")
	f.LowPort, f.HighPort = at(ports, 0), at(ports, 1)
	meminfo := m.text("proc/meminfo")
	f.MemTotal, f.MemAvailable = parseMeminfo(meminfo, "MemTotal"), parseMeminfo(meminfo, "MemAvailable")
	for line := range strings.Lines(m.text("proc/net/sockstat")) {
		if words := strings.Fields(line); len(words) > 2 && words[0] == "TCP:" && words[len(words)-2] == "mem" {
			f.TCPMemUsed = at(numbers(words[len(words)-1]), 0)
		}
	}
	if m.Files != nil {
		if soft, hard, err := m.Files(); err == nil {
			f.SoftFiles, f.HardFiles = clamped(soft), clamped(hard)
		}
	}
	m.groups(&f)
	return f
}

// Memory is what a process may use in bytes: the machine's memory, or the
// smallest limit of the control groups above it where that is less.
func (m Machine) Memory() Number {
	f := Facts{MemTotal: parseMeminfo(m.text("proc/meminfo"), "MemTotal")}
	m.groups(&f)
	if f.GroupMemory.known && (!f.MemTotal.known || f.GroupMemory.n < f.MemTotal.n) {
		return f.GroupMemory
	}
	return f.MemTotal
}

// groups reads the limits of the control groups above the process, in both
// versions of their file system.
func (m Machine) groups(f *Facts) {
	for line := range strings.Lines(m.text("proc/self/cgroup")) {
		// hierarchy-ID:controllers:/path; version 2 has ID 0 and no controllers.
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 {
			continue
		}
		switch {
		case part[1] == "":
			for _, base := range []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"} { // the second where both versions are mounted
				m.groupMemory(f, base, part[2], "memory.max")
				m.groupPids(f, base, part[2])
			}
		case part[1] == "memory":
			m.groupMemory(f, "sys/fs/cgroup/memory", part[2], "memory.limit_in_bytes")
		case part[1] == "pids":
			m.groupPids(f, "sys/fs/cgroup/pids", part[2])
		}
	}
}

func (m Machine) groupMemory(f *Facts, base, group, file string) {
	upwards(base, group, func(dir string) {
		name := path.Join(dir, file)
		limit := at(numbers(m.text(name)), 0)
		if limit.known && limit.n > 0 && limit.n < unlimited && (!f.GroupMemory.known || limit.n < f.GroupMemory.n) {
			f.GroupMemory, f.groupMemoryFile = limit, "/"+name
		}
	})
}

func (m Machine) groupPids(f *Facts, base, group string) {
	upwards(base, group, func(dir string) {
		limit := at(numbers(m.text(path.Join(dir, "pids.max"))), 0)
		used := at(numbers(m.text(path.Join(dir, "pids.current"))), 0)
		if limit.known && (!f.MaxPids.known || limit.n-used.n < f.MaxPids.n-f.Pids.n) {
			f.MaxPids, f.Pids = limit, used
		}
	})
}

// upwards calls do with the group's folder and each one above it, up to base.
// A container sees its own group at base, whatever its path says.
func upwards(base, group string, do func(dir string)) {
	for dir := path.Clean("/" + group); ; dir = path.Dir(dir) {
		do(path.Join(base, dir))
		if dir == "/" {
			return
		}
	}
}

// text is the file's content, "" if it cannot be read.
func (m Machine) text(name string) string {
	b, err := fs.ReadFile(m.Root, name)
	if err != nil {
		return ""
	}
	return string(b)
}

func (m Machine) exists(name string) bool {
	_, err := fs.Stat(m.Root, name)
	return err == nil || errors.Is(err, fs.ErrPermission)
}

// numbers reads the numbers of a line. A word that is none, such as the "max"
// of a control group, is unknown.
func numbers(text string) []Number {
	var all []Number
	for _, word := range strings.Fields(text) {
		u, err := strconv.ParseUint(word, 10, 64)
		if err != nil {
			all = append(all, Number{})
			continue
		}
		all = append(all, clamped(u))
	}
	return all
}

func at(all []Number, i int) Number {
	if i < len(all) {
		return all[i]
	}
	return Number{}
}

func triple(all []Number) Triple { return Triple{at(all, 0), at(all, 1), at(all, 2)} }

func clamped(u uint64) Number { return Known(int64(min(u, math.MaxInt64))) }

// parseMeminfo returns the line of /proc/meminfo with that name, in bytes.
func parseMeminfo(text, name string) Number {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 3 && words[0] == name+":" && words[2] == "kB" {
			if kib := at(numbers(words[1]), 0); kib.known && kib.n < unlimited>>10 {
				return Known(kib.n << 10)
			}
		}
	}
	return Number{}
}

// reserves reports whether outgoing connections never take the port.
func (f Facts) reserves(port int64) bool {
	for part := range strings.SplitSeq(f.ReservedPorts, ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		first, last := at(numbers(low), 0), at(numbers(high), 0)
		if first.known && last.known && first.n <= port && port <= last.n {
			return true
		}
	}
	return false
}
