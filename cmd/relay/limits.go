package main

import (
	"fmt"
	"math"
	"syscall"

	"gorelay/doctor"
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
	ownFiles      = 40   // listener, alarm, log, config, data, runtime and some air
	filesPerLoop  = 4    // epoll, eventfds, timerfd
	filesPerShard = 1    // an eventfd
	mostHTTP      = 1024 // publishers keep few connections and reuse them
	mostShakes    = 512  // handshakes that may wait while the relay is full
	smallestShare = 8    // of either, however low the limit is
	minFiles      = 1024 // what a hint asks for at least
)

// newBudget spends files descriptors for a relay with that many loops and
// shards. A sixteenth each goes to HTTP and to handshakes, up to a fixed number.
func newBudget(files uint64, loops, shards int) budget {
	n := int(min(files, math.MaxInt32))
	http := min(max(n/16, smallestShare), mostHTTP)
	shakes := min(max(n/16, smallestShare), mostShakes)
	reserve := http + shakes + ownFiles + filesPerLoop*loops + filesPerShard*shards
	return budget{connections: max(n-reserve, 0), http: http, reserve: reserve}
}

// raiseHint is how a user gets a limit of n.
func raiseHint(n int) string {
	return fmt.Sprintf("raise it with: ulimit -n %d (systemd: LimitNOFILE=%d, docker: --ulimit nofile=%d)", n, n, n)
}

// tooFewFiles says what takes so many files that none are left for connections.
func tooFewFiles(files uint64, loops, shards int) error {
	own := filesPerLoop*loops + filesPerShard*shards
	if uint64(own) < files/2 {
		return fmt.Errorf("the open-file limit of %d leaves none for connections; %s", files, raiseHint(minFiles))
	}
	enough := ownFiles + mostHTTP + mostShakes + own + minFiles
	return fmt.Errorf("the open-file limit of %d leaves none for connections: loops (%d) and shards (%d) take %d of it; choose fewer, or %s",
		files, loops, shards, own, raiseHint(enough))
}

// thisMachine raises the soft open-file limit to the hard one and looks at
// what derived settings depend on. On an error the limit is what it was.
func thisMachine() (machine, error) {
	here := doctor.ThisMachine()
	m := machine{memory: memoryOf(here), cores: here.Cores}
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

// memoryOf is what a relay may use of the machine's memory in bytes, 0 if that
// is unknown.
func memoryOf(m doctor.Machine) int64 {
	n, _ := m.Memory().Get()
	return n
}
