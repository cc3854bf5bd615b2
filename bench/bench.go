package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// options are what the flags set. A workload uses those it has a flag for.
type options struct {
	relay     string // program; empty builds the project's own
	target    string // host:port of a server that runs already; empty starts one
	key       string
	wsPath    string
	pushPath  string
	pid       int
	beside    string // what the relay is compared with, separated by commas
	sources   string // the clients' addresses, separated by commas
	workers   int
	serverCPU int // negative: any
	clientCPU int
	allCores  bool
	json      string // files to write; - is standard output
	page      string
	look      time.Duration // between two looks at whether a server rests
	every     time.Duration // between two samples of the timeline
	sampling  time.Duration // soak: between two samples with latencies
	gather    time.Duration

	rounds  int // of relay and floor in turn
	dialing int // handshakes under way at once
	conns   int
	payload int // bytes of a subject

	small, large int // idle: the two sizes

	broadcasts, bursts int // broadcast: a round's, one at a time and in groups

	publishers, pushes int     // connections of the backend, and pushes of a round
	rate               float64 // pushes a second; 0 is as many as can be
	broadcastRate      float64 // broadcasts a second
	delayRate          float64 // delayed pushes a second
	time               time.Duration

	delayed int           // delay: pushes that are due
	within  time.Duration // over which time, in whole seconds
	ahead   time.Duration // how long before its begin
	restart bool          // kills the relay while they wait

	probes  int     // clients that get the pushes of an open loop
	movers  int     // clients that come and go, or that stall
	comings float64 // of the movers, a second
	storms  int
}

// The servers of a run, by their names in the figures.
const (
	underTest      = "relay"
	besideFloor    = "floor"
	besideRoutine  = "goroutine"
	besideBare     = "bare"
	besideInMemory = underTest + "-memory"
)

// besideMemory asks for besideInMemory, the relay itself without a data_dir.
const besideMemory = "memory"

// apiKey is the key that the server under test is configured with.
const apiKey = "key-of-the-bench"

// bench is one run of one workload.
type bench struct {
	options
	dir      string    // everything that is written; removed at the end
	self     string    // this program, which is the floors and the workers too
	notes    io.Writer // what is being done, for who waits
	bar      *progress
	clock    clock
	samplers map[*server]*sampler
	report   report
	enough   atomic.Bool // an open loop shall end as if its time were over
}

func (b *bench) note(format string, args ...any) { fmt.Fprintf(b.notes, format+"\n", args...) }

// startRelay starts a fresh server under test in a fresh folder, or finds the
// one that runs already.
func (b *bench) startRelay() (*server, error) {
	if b.target != "" {
		return b.attach()
	}
	return b.startWith(underTest, dataOnDisk)()
}

// starter starts a server.
type starter func() (*server, error)

// child starts this program as something to compare with.
func (b *bench) child(name, mode string) starter {
	return func() (*server, error) {
		return startServer(program{name: name, file: b.self, args: []string{mode}, dir: b.dir, cpu: b.serverCPU, look: b.look, within: startWithin, tame: true})
	}
}

// compares reports whether the relay shall be compared with this.
func (b *bench) compares(name string) bool { return slices.Contains(split(b.beside), name) }

// contenders are the relay and what it is compared with: the goroutine design,
// and a floor of this mode, if there is one for the workload.
func (b *bench) contenders(floor string) []starter {
	all := []starter{b.startRelay}
	if b.compares(besideRoutine) {
		all = append(all, b.child(besideRoutine, goroutineMode))
	}
	if floor != "" && b.compares(besideFloor) {
		all = append(all, b.child(besideFloor, floor))
	}
	return all
}

// together runs do with all these servers at once.
func (b *bench) together(starts []starter, do func([]*server) error) error {
	var begin func([]*server) error
	begin = func(running []*server) error {
		if len(running) == len(starts) {
			return do(running)
		}
		return b.with(starts[len(running)], func(s *server) error { return begin(append(running, s)) })
	}
	return begin(nil)
}

// with runs do with a server and stops it, whatever happens.
func (b *bench) with(start starter, do func(*server) error) error {
	s, err := start()
	if err != nil {
		return err
	}
	s.clientCPU = b.clientCPU
	w := b.sample(s)
	b.samplers[s] = w
	err = do(s)
	w.end()
	delete(b.samplers, s)
	b.report.serverAccount(s)
	return errors.Join(err, s.stop())
}

// plan is a fleet of all of a run's clients of a server.
func (b *bench) plan(s *server) plan {
	p := plan{Server: s.name, Target: s.addr, WSPath: s.wsPath, Count: b.conns, Dialing: b.dialing, Payload: b.payload, Gather: b.gather}
	for _, a := range split(b.sources) {
		p.Sources = append(p.Sources, netip.MustParseAddr(a)) // validate has seen them
	}
	if p.Sources == nil {
		p.Sources = sources(s.addr)
	}
	return p
}

// connect opens a fleet. It is not nil if it must be settled, whatever the
// error.
func (b *bench) connect(s *server, p plan) (*fleet, error) {
	return b.connectIn(s, p, workersFor(p.Count))
}

// connectApart is connect for fleets of several servers at once: this process
// would not have the files for all of them, so none of them is in it.
func (b *bench) connectApart(s *server, p plan) (*fleet, error) {
	return b.connectIn(s, p, max(1, workersFor(p.Count)))
}

func (b *bench) connectIn(s *server, p plan, workers int) (*fleet, error) {
	if b.workers > 0 {
		workers = b.workers
	}
	f, err := startFleet(p, min(workers, p.Count), b.self, b.bar)
	if err != nil {
		return nil, err
	}
	b.samplers[s].add(f)
	if _, err = f.connected(); err == nil && s.name == besideRoutine {
		// With gorilla the 101 is out before the connection can be entered in
		// the map: until it rests, the server may miss its last clients.
		_, err = s.quiet()
	}
	return f, err
}

// settle closes a fleet and enters its account. It adds to *err what ended the
// fleet.
func (b *bench) settle(s *server, f *fleet, expected int64, err *error) {
	if f == nil {
		return
	}
	st, _ := f.state()
	t, failed := f.end(expected)
	b.samplers[s].remove(f, st)
	b.report.count(s.name, t)
	if t.Closed > 0 {
		b.note("%s closed %d clients, the first with %s", s.name, t.Closed, st.Reason)
	}
	if failed != nil && (*err == nil || !contains(*err, failed)) {
		*err = errors.Join(*err, failed)
	}
}

// contains reports whether err says what part says: errors of workers have
// nothing but their text.
func contains(err, part error) bool {
	return len(part.Error()) > 0 && strings.Contains(err.Error(), part.Error())
}

// buildRelay compiles the project's own program.
func (b *bench) buildRelay() error {
	b.note("building ./cmd/relay")
	b.relay = filepath.Join(b.dir, "relay")
	if out, err := exec.Command("go", "build", "-o", b.relay, "gorelay/cmd/relay").CombinedOutput(); err != nil {
		return fmt.Errorf("build the relay: %w (outside of the module name a program with -relay)\n%s", err, out)
	}
	return nil
}
