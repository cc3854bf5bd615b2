package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// workload is one thing that can be measured.
type workload struct {
	name    string
	summary string
	flags   func(*flag.FlagSet, *options)
	bounds  func(*options) []bound
	run     func(*bench) error
}

// bound is the least that a flag may be.
type bound struct {
	flag         string
	value, least int
}

const (
	exitOK     = 0
	exitFailed = 1 // could not measure, or the messages' account is not clean
	exitUsage  = 2

	// cpuAuto picks a core besides the server's.
	cpuAuto = -2
)

func workloads() []workload {
	conns := func(f *flag.FlagSet, o *options) {
		f.IntVar(&o.conns, "conns", 10_000, "`number` of connections")
		f.IntVar(&o.payload, "payload", 128, "`bytes` of a message's subject")
	}
	return []workload{
		{"idle", "memory of an idle connection, CPU of a handshake", func(f *flag.FlagSet, o *options) {
			f.IntVar(&o.rounds, "rounds", 3, "`number` of rounds; the relay and the floor take turns in each")
			f.IntVar(&o.small, "small", 2_000, "`number` of connections of the small size")
			f.IntVar(&o.large, "large", 15_000, "`number` of connections of the large size")
		}, func(o *options) []bound {
			return []bound{{"small", o.small, 1}, {"large", o.large, o.small + 1}}
		}, (*bench).idle},
		{"broadcast", "CPU of a delivery when everybody gets a message", func(f *flag.FlagSet, o *options) {
			conns(f, o)
			f.IntVar(&o.rounds, "rounds", 5, "`number` of rounds; the relay and the floor take turns in each")
			f.IntVar(&o.broadcasts, "broadcasts", 20, "`number` of broadcasts one at a time in a round")
			f.IntVar(&o.bursts, "bursts", 5, fmt.Sprintf("`number` of bursts of %d broadcasts in a round", burst))
		}, func(o *options) []bound {
			return []bound{{"conns", o.conns, 1}, {"payload", o.payload, minSubject}, {"broadcasts", o.broadcasts, 1}, {"bursts", o.bursts, 0}}
		}, (*bench).broadcast},
		{"push", "CPU and rate of pushes to single clients", func(f *flag.FlagSet, o *options) {
			conns(f, o)
			f.IntVar(&o.rounds, "rounds", 5, "`number` of rounds; the relay and the floor take turns in each")
			f.IntVar(&o.publishers, "publishers", 16, "`number` of publishers, each with one HTTP connection")
			f.IntVar(&o.pushes, "pushes", 40_000, "`number` of pushes in a round")
		}, func(o *options) []bound {
			return []bound{{"conns", o.conns, 1}, {"payload", o.payload, minSubject}, {"publishers", o.publishers, 1}, {"pushes", o.pushes, o.publishers}}
		}, (*bench).push},
	}
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is the program, from its arguments to its exit code.
func run(args []string, stdout, stderr io.Writer) int {
	if isFloor(args) {
		return runFloor(args[0])
	}
	if len(args) == 0 {
		usage(stderr)
		return exitUsage
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		usage(stdout)
		return exitOK
	}
	for _, w := range workloads() {
		if w.name == args[0] {
			return runWorkload(w, args[1:], stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "bench: no workload %q\n\n", args[0])
	usage(stderr)
	return exitUsage
}

func usage(w io.Writer) {
	fmt.Fprint(w, `bench measures a relay as its clients and its operator see it.

  go run ./bench WORKLOAD [flags]

Workloads:
`)
	for _, l := range workloads() {
		fmt.Fprintf(w, "  %-10s %s\n", l.name, l.summary)
	}
	fmt.Fprint(w, "\ngo run ./bench WORKLOAD -h shows the flags. Exit codes: 0 measured and every\nmessage accounted for, 1 not, 2 wrong arguments.\n")
}

func newFlags(w workload, o *options) *flag.FlagSet {
	f := flag.NewFlagSet("bench "+w.name, flag.ContinueOnError)
	f.StringVar(&o.relay, "relay", "", "`program` under test (default: ./cmd/relay is built)")
	f.IntVar(&o.serverCPU, "server-cpu", 0, "`core` of the server, -1 for any")
	f.IntVar(&o.clientCPU, "client-cpu", cpuAuto, "`core` of the clients, -1 for any, -2 for another than the server's")
	f.IntVar(&o.dialing, "dialing", 256, "`number` of handshakes under way at once")
	f.DurationVar(&o.look, "look", 100*time.Millisecond, "`time` between two looks at whether a server has come to rest; five in a row must agree")
	f.BoolVar(&o.json, "json", false, "write one JSON object a line")
	w.flags(f, o)
	return f
}

// validate names the flag that cannot work.
func (o *options) validate(w workload) error {
	common := []bound{{"rounds", o.rounds, 1}, {"dialing", o.dialing, 1}}
	for _, b := range append(common, w.bounds(o)...) {
		if b.value < b.least {
			return fmt.Errorf("-%s must be at least %d, not %d", b.flag, b.least, b.value)
		}
	}
	if o.publishers > 0 && o.publishers > o.conns {
		return fmt.Errorf("-publishers must be at most -conns, %d: each has clients of its own", o.conns)
	}
	if o.look <= 0 {
		return fmt.Errorf("-look must be more than 0, not %v", o.look)
	}
	return nil
}

func runWorkload(w workload, args []string, stdout, stderr io.Writer) int {
	b := &bench{notes: stderr}
	f := newFlags(w, &b.options)
	f.SetOutput(stderr)
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return exitUsage
	}
	err := b.validate(w)
	if f.NArg() > 0 {
		err = fmt.Errorf("%q is no flag", f.Arg(0))
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitUsage
	}
	if b.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitFailed
	}
	defer os.RemoveAll(b.dir)

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	done := make(chan error, 1)
	go func() { // ends with the workload, or with the process
		if err := b.prepare(w.name); err != nil {
			done <- err
			return
		}
		done <- w.run(b)
	}()
	select {
	case err = <-done:
	case s := <-signals: // the children die with this process
		fmt.Fprintln(stderr, "bench: stopped by", s)
		return exitFailed
	}
	return b.finish(err, stdout, stderr)
}

// finish prints what was found, also of a run that failed, and judges it.
func (b *bench) finish(err error, stdout, stderr io.Writer) int {
	write := b.report.writeTable
	if b.json {
		write = b.report.writeJSON
	}
	if len(b.report.accounts) > 0 {
		err = errors.Join(err, write(stdout))
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitFailed
	}
	if n := b.report.faults(); n > 0 {
		fmt.Fprintf(stderr, "bench: %d messages or connections went wrong, see the account\n", n)
		return exitFailed
	}
	return exitOK
}
