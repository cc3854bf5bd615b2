package doctor

import (
	"fmt"
	"math"
	"sort"
	"time"
)

// Relay is what the relay's own settings add to the question.
type Relay struct {
	ConfigFile     string // path of the file of settings
	ConfigState    string // ConfigRead, ConfigMissing or ConfigBroken: only what was read counts
	Port           int
	Loops          int
	MaxConnections int64         // max_connections; 0 = not set
	PendingBytes   int64         // max_total_pending_bytes as it would be used
	PingInterval   time.Duration // 0 = off
	MaxDelayed     int64         // max_delayed
	Disk           Disk          // under data_dir
	// Serves is how many connections a number of open files serves; more files
	// never serve fewer.
	Serves func(files uint64) int
}

// Verdict is what a check comes to.
type Verdict string

const (
	OK      Verdict = "ok"      // enough
	Short   Verdict = "short"   // so many connections do not fit
	Advice  Verdict = "advice"  // they fit, and would be served better
	Note    Verdict = "note"    // to know, nothing to judge
	Unknown Verdict = "unknown" // cannot be read here
)

// Check is one fact held against what the connections need.
type Check struct {
	Name    string   `json:"name"`
	Value   string   `json:"value"`
	Needed  string   `json:"needed"` // "" where nothing is
	Fits    Number   `json:"fits"`   // connections that this limit allows; unknown if it is none
	Verdict Verdict  `json:"verdict"`
	Why     string   `json:"why"`
	Apply   []string `json:"apply"` // lines that mend it, for Short and Advice, where there are any
}

// examiner builds the checks for one number of connections.
type examiner struct {
	f Facts
	r Relay
	n int64
}

// examine holds every fact against n connections.
func examine(f Facts, r Relay, n int64) []Check {
	e := examiner{f, r, n}
	all := []Check{
		e.openFiles(), e.nrOpen(), e.fileMax(), e.epollWatches(),
		e.memory(), e.groupMemory(), e.tcpMem(), e.conntrack(), e.pids(),
	}
	if r.MaxConnections > 0 {
		all = append(all, e.setting())
	}
	return append(all, e.somaxconn(), e.synBacklog(), e.ports(), e.sendBuffers(), e.receiveBuffers(), e.congestion(), e.processors(), e.disk())
}

// limit is a check whose number bounds the connections: value against needed,
// and fits of them.
func (e examiner) limit(c Check, value Number, needed, fits int64, apply ...string) Check {
	if c.Value == "" {
		c.Value = value.String()
	}
	c.Needed = Known(needed).String()
	switch {
	case !value.known:
		c.Verdict = Unknown
	case fits < e.n:
		c.Fits, c.Verdict, c.Apply = Known(fits), Short, apply
	default:
		c.Fits, c.Verdict = Known(fits), OK
	}
	return c
}

// files is the smallest open-file limit that serves n connections.
func (e examiner) files() int64 {
	return int64(sort.Search(math.MaxInt32, func(files int) bool { return int64(e.r.Serves(uint64(files))) >= e.n }))
}

func (e examiner) serves(files Number) int64 {
	return int64(e.r.Serves(uint64(max(files.n, 0))))
}

func (e examiner) openFiles() Check {
	need := e.files()
	ask := rounded(need)
	if most := e.f.NrOpen; most.known && need <= most.n {
		ask = min(ask, most.n) // more would be refused
	}
	apply := []string{fmt.Sprintf("LimitNOFILE=%d", ask), fmt.Sprintf("ulimit -n %d", ask)}
	if e.f.Container {
		apply = []string{fmt.Sprintf("docker run --ulimit nofile=%d", ask)}
	}
	c := Check{Name: "open files", Why: "a connection is one descriptor; a reserve keeps pushes and handshakes going; the relay raises the soft limit to the hard one"}
	if e.f.HardFiles.known {
		c.Value = fmt.Sprintf("hard %s (soft %s)", e.f.HardFiles, e.f.SoftFiles)
	}
	return e.limit(c, e.f.HardFiles, need, e.serves(e.f.HardFiles), apply...)
}

func (e examiner) nrOpen() Check {
	need := e.files()
	return e.limit(Check{Name: "fs.nr_open", Why: "no open-file limit can be higher"},
		e.f.NrOpen, need, e.serves(e.f.NrOpen), e.host("fs.nr_open", rounded(need)))
}

func (e examiner) fileMax() Check {
	need, free := e.f.FilesOpen.n+e.files(), e.f.FileMax
	free.n -= e.f.FilesOpen.n
	return e.limit(Check{Name: "fs.file-max", Why: "open files of the whole machine"},
		e.f.FileMax, need, e.serves(free), e.host("fs.file-max", rounded(need)))
}

func (e examiner) epollWatches() Check {
	const own = 16 // of a loop: eventfds, timerfd, the listener
	need := e.n + own*int64(e.r.Loops)
	return e.limit(Check{Name: "fs.epoll.max_user_watches", Why: "each connection is one entry in an epoll; counted per user"},
		e.f.EpollWatches, need, max(e.f.EpollWatches.n-own*int64(e.r.Loops), 0), e.host("fs.epoll.max_user_watches", rounded(need)))
}

func (e examiner) memory() Check {
	c := Check{Name: "memory available", Why: fmt.Sprintf("%d bytes a connection (relay twice over, kernel, one broadcast on its way) and twice max_total_pending_bytes (%s)", connectionMemory, size(e.r.PendingBytes))}
	c = e.memoryLimit(c, e.f.MemAvailable, "a machine with %s of free memory")
	if e.f.MemAvailable.known && e.f.MemTotal.known {
		c.Value += " of " + size(e.f.MemTotal.n)
	}
	return c
}

func (e examiner) groupMemory() Check {
	c := Check{Name: "control group memory", Why: "the kernel memory of sockets counts too"}
	if !e.f.GroupMemory.known {
		c.Value, c.Verdict = "no limit found", Note
		return c
	}
	c.Why += "; " + e.f.groupMemoryFile
	line := "MemoryMax=%s"
	if e.f.Container {
		line = "docker run --memory=%s"
	}
	return e.memoryLimit(c, e.f.GroupMemory, line)
}

// memoryLimit is limit for memory. What mends it is a smaller bound on waiting
// bytes, where that is enough, or more memory.
func (e examiner) memoryLimit(c Check, value Number, more string) Check {
	const leastPending = 64 << 20
	need := memoryFor(e.n, e.r.PendingBytes)
	apply := fmt.Sprintf(more, fmt.Sprintf("%dM", need>>20+1))
	if waits := pendingIn(value.n, e.n); waits >= leastPending {
		apply = fmt.Sprintf(`"max_total_pending_bytes": %d`, waits>>20<<20)
	}
	c.Value = size(value.n)
	if !value.known {
		c.Value = value.String()
	}
	c = e.limit(c, value, need, connectionsIn(value.n, e.r.PendingBytes), apply)
	c.Needed = size(need)
	return c
}

func (e examiner) tcpMem() Check {
	used, top := e.f.TCPMemUsed.n, e.f.TCPMem[2]
	need := used + e.n*inFlightPages
	apply := e.host("net.ipv4.tcp_mem", fmt.Sprintf(`"%d %d %d"`, rounded(need), rounded(need*5/4), rounded(need*3/2)))
	c := Check{Name: "net.ipv4.tcp_mem (max)", Why: "pages of unsent and unacknowledged data; a small broadcast takes one a socket, and past the limit sends fail"}
	if top.known {
		c.Value = fmt.Sprintf("%s (pressure %s)", top, e.f.TCPMem[1])
	}
	c = e.limit(c, top, need, max(top.n-used, 0)/inFlightPages, apply)
	if pressure := e.f.TCPMem[1]; c.Verdict == OK && pressure.known && need > pressure.n {
		c.Verdict, c.Apply = Advice, []string{apply}
		c.Why += "; past pressure the kernel shrinks buffers"
	}
	return c
}

func (e examiner) conntrack() Check {
	c := Check{Name: "net.netfilter.nf_conntrack_max", Why: "where a firewall or NAT tracks connections, each is one entry; when full, new ones are dropped"}
	switch {
	case !e.f.MaxTracked.known:
		c.Value, c.Verdict = "not loaded", OK
		return c
	case e.f.Tracked.known && e.f.Tracked.n == 0:
		c.Value, c.Verdict = e.f.MaxTracked.String()+" (tracks nothing)", OK
		return c
	}
	need := e.f.Tracked.n + e.n
	return e.limit(c, e.f.MaxTracked, need, max(e.f.MaxTracked.n-e.f.Tracked.n, 0), e.host("net.netfilter.nf_conntrack_max", rounded(need)))
}

func (e examiner) pids() Check {
	c := Check{Name: "control group pids", Why: "threads: one a loop, one a core and a few; not more with more connections"}
	if !e.f.MaxPids.known {
		c.Value, c.Verdict = "no limit found", Note
		return c
	}
	need := e.f.Pids.n + int64(threads+e.r.Loops+e.f.Cores)
	fits := int64(unlimited)
	if need > e.f.MaxPids.n {
		fits = 0
	}
	apply := fmt.Sprintf("TasksMax=%d", rounded(need))
	if e.f.Container {
		apply = fmt.Sprintf("docker run --pids-limit=%d", rounded(need))
	}
	return e.limit(c, e.f.MaxPids, need, fits, apply)
}

func (e examiner) setting() Check {
	return e.limit(Check{Name: "max_connections", Why: "set for this relay"},
		Known(e.r.MaxConnections), e.n, e.r.MaxConnections, fmt.Sprintf(`"max_connections": %d`, e.n))
}

// host is the line that sets a sysctl of the whole machine.
func (e examiner) host(name string, value any) string {
	line := fmt.Sprintf("sysctl -w %s=%v", name, value)
	if e.f.Container {
		line = "on the host: " + line
	}
	return line
}

// rounded is n a little up, to a number that people write.
func rounded(n int64) int64 {
	step := int64(1)
	for step*100 <= n {
		step *= 10
	}
	return (n + step - 1) / step * step
}

// size is a number of bytes for people.
func size(n int64) string {
	for _, u := range []struct {
		unit string
		of   int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.of {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.of), u.unit)
		}
	}
	return fmt.Sprintf("%d B", n)
}
