package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// options are what the flags set. A workload uses those it has a flag for.
type options struct {
	relay     string // program; empty builds the project's own
	serverCPU int    // negative: any
	clientCPU int
	json      bool
	look      time.Duration // between two looks at whether a server rests

	rounds  int // of relay and floor in turn
	dialing int // handshakes under way at once
	conns   int
	payload int // bytes of a subject

	small, large int // idle: the two sizes

	broadcasts, bursts int // broadcast: a round's, one at a time and in groups

	publishers, pushes int // push: connections, and pushes of a round
}

// burst is how many broadcasts are sent at once in the second part of the
// broadcast workload.
const burst = 5

// apiKey is the key that the server under test is configured with.
const apiKey = "key-of-the-bench"

// bench is one run of one workload.
type bench struct {
	options
	dir    string    // everything that is written; removed at the end
	self   string    // this program, which is the floors too
	notes  io.Writer // what is being done, for who waits
	report report
}

func (b *bench) note(format string, args ...any) { fmt.Fprintf(b.notes, format+"\n", args...) }

// prepare takes care of the limits, the cores and the program under test.
func (b *bench) prepare(workload string) error {
	if err := needFiles(max(b.conns, b.large)); err != nil {
		return err
	}
	if b.clientCPU == cpuAuto {
		b.clientCPU = otherCPU(b.serverCPU)
	}
	var err error
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.relay == "" {
		b.note("building ./cmd/relay")
		b.relay = filepath.Join(b.dir, "relay")
		if out, err := exec.Command("go", "build", "-o", b.relay, "gorelay/cmd/relay").CombinedOutput(); err != nil {
			return fmt.Errorf("build the relay: %w (outside of the module name a program with -relay)\n%s", err, out)
		}
	}
	if b.relay, err = filepath.Abs(b.relay); err != nil {
		return err
	}
	if s, err := os.Stat(b.relay); err != nil || s.IsDir() || s.Mode()&0o111 == 0 {
		return fmt.Errorf("-relay %s: not a program that can be run", b.relay)
	}
	// The swarm's thread waits in the kernel: publishers go on beside it, even
	// on a single core.
	runtime.GOMAXPROCS(max(4, runtime.GOMAXPROCS(0)))
	if b.clientCPU >= 0 {
		if err := pinSelf(b.clientCPU); err != nil {
			return fmt.Errorf("-client-cpu: %w", err)
		}
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return os.NewSyscallError("uname", err)
	}
	b.report.run = runInfo{
		Type: "run", Workload: workload, Relay: b.relay, Kernel: unix.ByteSliceToString(u.Release[:]), Go: runtime.Version(),
		Cores: runtime.NumCPU(), ServerCPU: b.serverCPU, ClientCPU: b.clientCPU,
	}
	return nil
}

// startRelay starts a fresh server under test in a fresh folder. Its pings are
// off: they would fall into one round and not into the next.
func (b *bench) startRelay() (*server, error) {
	dir, err := os.MkdirTemp(b.dir, "relay-")
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(map[string]string{
		"port": "0", "api_key": apiKey, "ws_path": wsPath, "push_path": pushPath, "ping_interval": "0s",
	})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600); err != nil {
		return nil, err
	}
	return startServer(program{name: "relay", file: b.relay, dir: dir, cpu: b.serverCPU, look: b.look})
}

// startFloor starts one of the floors.
func (b *bench) startFloor(kind string) (*server, error) {
	return startServer(program{name: "floor", file: b.self, args: []string{kind}, dir: b.dir, cpu: b.serverCPU, look: b.look, tame: true})
}

// settle closes a swarm and enters its account. It adds to *err what ended the
// swarm.
func (b *bench) settle(s *server, clients *swarm, expected int, err *error) {
	t, failed := clients.close(int64(expected))
	b.report.count(s.name, t)
	if t.Closed > 0 {
		b.note("%s closed %d clients, the first with %s", s.name, t.Closed, clients.reason)
	}
	if failed != nil && !errors.Is(*err, failed) {
		*err = errors.Join(*err, failed)
	}
}

// with runs do with a server and stops it, whatever happens.
func with(start func() (*server, error), do func(*server) error) error {
	s, err := start()
	if err != nil {
		return err
	}
	return errors.Join(do(s), s.stop())
}
