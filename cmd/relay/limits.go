package main

import (
	"bufio"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// budget says how the open-file limit is spent. Every connection is one
// descriptor; the reserve keeps pushes, handshakes and the process itself
// going when all connections are taken.
type budget struct {
	connections int // WebSockets
	http        int // HTTP connections of publishers
	reserve     int // http, handshakes under way and the process's own
}

const (
	ownFiles      = 48   // listener, log, config, runtime and some air
	filesPerLoop  = 4    // epoll, eventfds, timerfd
	mostHTTP      = 1024 // publishers keep few connections and reuse them
	mostShakes    = 512  // handshakes that may wait while the relay is full
	smallestShare = 8    // of either, however low the limit is
	minFiles      = 1024 // what a hint asks for at least
)

// newBudget spends files descriptors for a relay with that many loops. A
// sixteenth each goes to HTTP and to handshakes, up to a fixed number.
func newBudget(files uint64, loops int) budget {
	n := int(min(files, math.MaxInt32))
	http := min(max(n/16, smallestShare), mostHTTP)
	shakes := min(max(n/16, smallestShare), mostShakes)
	reserve := http + shakes + ownFiles + filesPerLoop*loops
	return budget{connections: max(n-reserve, 0), http: http, reserve: reserve}
}

// raiseHint is how a user gets a limit of n.
func raiseHint(n int) string {
	return fmt.Sprintf("raise it with: ulimit -n %d (systemd: LimitNOFILE=%d, docker: --ulimit nofile=%d)", n, n, n)
}

// thisMachine raises the soft open-file limit to the hard one and looks at
// what derived settings depend on. On an error the limit is what it was.
func thisMachine() (machine, error) {
	m := machine{memory: memoryLimit(os.DirFS("/")), cores: runtime.GOMAXPROCS(0)}
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return m, fmt.Errorf("read it: %w", err)
	}
	m.files = l.Cur
	if l.Cur >= l.Max {
		return m, nil
	}
	l.Cur = l.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return m, err
	}
	m.files = l.Cur
	return m, nil
}

// memoryLimit is what the process may use in bytes: the machine's memory or
// the smallest limit of the control groups above it (both versions). 0 means
// unknown. root is the file system's root.
func memoryLimit(root fs.FS) int64 {
	limit := int64(math.MaxInt64)
	lower := func(name string) {
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
			limit = min(limit, n)
		}
	}
	eachLine(root, "proc/meminfo", func(line string) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemTotal:" {
			if kib, err := strconv.ParseInt(f[1], 10, 64); err == nil && kib > 0 {
				limit = min(limit, kib<<10)
			}
		}
	})
	eachLine(root, "proc/self/cgroup", func(line string) {
		// hierarchy-ID:controllers:/path; version 2 has ID 0 and no controllers.
		f := strings.SplitN(line, ":", 3)
		if len(f) != 3 {
			return
		}
		base, name := "sys/fs/cgroup", "memory.max"
		if f[1] == "memory" {
			base, name = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		} else if f[1] != "" {
			return
		}
		for dir := path.Clean("/" + f[2]); ; dir = path.Dir(dir) {
			lower(path.Join(base, dir, name))
			if dir == "/" {
				return
			}
		}
	})
	if limit == math.MaxInt64 {
		return 0
	}
	return limit
}

func eachLine(root fs.FS, name string, do func(string)) {
	f, err := root.Open(name)
	if err != nil {
		return
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		do(s.Text())
	}
}
