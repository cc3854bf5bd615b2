package main

import (
	"cmp"
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// bound is the least that a flag may be.
type bound struct {
	flag  string
	value float64
	least float64
}

// readSoon is how long clients gather events where latency is measured.
const readSoon = 0

// gatherEvents is how long they do where the server's processor time is: on
// loopback it would pay for waking them with every single message.
const gatherEvents = 200 * time.Microsecond

// cpuAuto picks a core besides the server's.
const cpuAuto = -2

func newFlags(w workload, o *options) *flag.FlagSet {
	f := flag.NewFlagSet("bench "+w.name, flag.ContinueOnError)
	f.StringVar(&o.relay, "relay", "", "`program` under test (default: ./cmd/relay is built)")
	f.StringVar(&o.target, "target", "", "`host:port` of a server that runs already, instead of -relay")
	f.StringVar(&o.key, "key", apiKey, "API `key` of -target")
	f.StringVar(&o.wsPath, "ws-path", wsPath, "WebSocket `path` of -target")
	f.StringVar(&o.pushPath, "push-path", pushPath, "push `path` of -target")
	f.IntVar(&o.pid, "pid", 0, "process `id` of -target, if it runs on this machine: for its memory and CPU")
	f.StringVar(&o.beside, "beside", strings.Join(besideOf(w), ","), "`what` the relay takes turns with; none with an empty text")
	f.StringVar(&o.sources, "sources", "", "IPv4 `addresses` of this machine that clients come from (default: 64 of 127.0.0.0/8 for a local server)")
	f.IntVar(&o.workers, "workers", 0, "`number` of client processes (default: as many as the open-file limit asks for)")
	f.IntVar(&o.serverCPU, "server-cpu", 0, "`core` of the server, -1 for any")
	f.IntVar(&o.clientCPU, "client-cpu", cpuAuto, "`core` of the clients, -1 for any, -2 for another than the server's")
	f.BoolVar(&o.allCores, "all-cores", false, "server and clients run on all cores alike, whatever -server-cpu and -client-cpu say: a workload of its own in tables and comparisons")
	f.IntVar(&o.dialing, "dialing", dialingOf(w), "`number` of handshakes under way at once")
	f.DurationVar(&o.look, "look", 100*time.Millisecond, "`time` between two looks at whether a server has come to rest; five in a row must agree")
	f.DurationVar(&o.every, "every", sampleOf(w), "`time` between two samples of the timeline")
	f.DurationVar(&o.gather, "gather", gatherOf(w), "`time` that clients let messages come together before they read: less of the server's CPU goes into waking them, and latencies are longer by it")
	f.StringVar(&o.json, "json", "", "write JSON lines to this `file`; - is standard output, instead of the table")
	f.StringVar(&o.page, "report", "", "write an HTML page with plots to this `file`")
	w.flags(f, o)
	return f
}

// besideOf is what a workload has to compare with.
func besideOf(w workload) []string {
	switch w.name {
	case "delay":
		return []string{besideRoutine, besideMemory}
	case "push":
		return []string{besideFloor, besideRoutine, besideBare}
	case "connect", "idle", "broadcast", "storm":
		return []string{besideFloor, besideRoutine}
	case "mixed", "churn":
		return []string{besideRoutine}
	}
	return nil
}

func dialingOf(w workload) int {
	if w.name == "storm" {
		return 1 << 20 // at once
	}
	return 256
}

func gatherOf(w workload) time.Duration {
	switch w.name {
	case "idle", "broadcast", "push":
		return gatherEvents
	}
	return readSoon
}

func sampleOf(w workload) time.Duration {
	switch w.name {
	case "soak":
		return 10 * time.Second
	case "connect", "idle", "storm": // over in a second or two
		return 50 * time.Millisecond
	}
	return 250 * time.Millisecond
}

// The flags that several workloads have.

func (o *options) connsFlag(f *flag.FlagSet, n int) {
	f.IntVar(&o.conns, "conns", n, "`number` of connections")
}

func (o *options) payloadFlag(f *flag.FlagSet, n int) {
	f.IntVar(&o.payload, "payload", n, "`bytes` of a message's subject")
}

func (o *options) roundsFlag(f *flag.FlagSet, n int) {
	f.IntVar(&o.rounds, "rounds", n, "`number` of rounds; the relay and what it is compared with take turns in each")
}

func (o *options) publishersFlag(f *flag.FlagSet, n int) {
	f.IntVar(&o.publishers, "publishers", n, "`number` of publishers, each with one HTTP connection")
}

func (o *options) rateFlag(f *flag.FlagSet, n float64) {
	f.Float64Var(&o.rate, "rate", n, "pushes a second, each at its own time (open loop); 0 sends each after the answer to the one before")
}

func (o *options) timeFlag(f *flag.FlagSet, d time.Duration) {
	f.DurationVar(&o.time, "time", d, "`time` that an open loop runs")
}

func (o *options) moversFlag(f *flag.FlagSet, n int, usage string) {
	f.IntVar(&o.movers, "movers", n, usage)
}

func (o *options) comingsFlag(f *flag.FlagSet, n float64) {
	f.Float64Var(&o.comings, "comings", n, "clients a second that leave and are followed by new ones")
}

func (o *options) trafficFlags(f *flag.FlagSet, conns, payload int, rate, broadcasts float64) {
	o.connsFlag(f, conns)
	o.payloadFlag(f, payload)
	o.publishersFlag(f, 4)
	o.rateFlag(f, rate)
	f.IntVar(&o.probes, "probes", 100, "`number` of the connections that get the pushes to single clients; the others get the broadcasts")
	f.Float64Var(&o.broadcastRate, "broadcast-rate", broadcasts, "broadcasts a second")
}

// validate names the flag that cannot work, out of those that were defined.
func (o *options) validate(w workload, f *flag.FlagSet) error {
	bounds := []bound{
		{"rounds", float64(o.rounds), 1}, {"dialing", float64(o.dialing), 1}, {"workers", float64(o.workers), 0},
		{"conns", float64(o.conns), 1}, {"payload", float64(o.payload), float64(minSubject)},
		{"small", float64(o.small), 1}, {"large", float64(o.large), float64(o.small + 1)},
		{"broadcasts", float64(o.broadcasts), 1}, {"bursts", float64(o.bursts), 0},
		{"publishers", float64(o.publishers), 1}, {"pushes", float64(o.pushes), float64(o.publishers * turnsOfRound)},
		{"rate", o.rate, 0}, {"broadcast-rate", o.broadcastRate, 0}, {"delay-rate", o.delayRate, 0}, {"comings", o.comings, 0},
		{"delayed", float64(o.delayed), 1}, {"movers", float64(o.movers), 1}, {"probes", float64(o.probes), 1}, {"storms", float64(o.storms), 1},
		{"pid", float64(o.pid), 0}, {"gather", o.gather.Seconds(), 0},
	}
	for _, b := range bounds {
		if f.Lookup(b.flag) != nil && b.value < b.least {
			return fmt.Errorf("-%s must be at least %s, not %s", b.flag, plain(b.least), plain(b.value))
		}
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{{"look", o.look}, {"every", o.every}, {"time", o.time}, {"ahead", o.ahead}, {"sample", o.sampling}} {
		if f.Lookup(d.flag) != nil && d.value <= 0 {
			return fmt.Errorf("-%s must be more than 0, not %v", d.flag, d.value)
		}
	}
	if f.Lookup("within") != nil && (o.within < time.Second || o.within%time.Second != 0) {
		return fmt.Errorf("-within must be whole seconds, not %v: a delay has no fractions of one", o.within)
	}
	if o.restart && o.target != "" {
		return fmt.Errorf("-restart goes without -target: a relay is killed only if the bench has started it")
	}
	if o.publishers > o.conns {
		return fmt.Errorf("-publishers must be at most -conns, %d: each has clients of its own", o.conns)
	}
	if o.target != "" && o.relay != "" {
		return fmt.Errorf("-relay and -target: only one of them")
	}
	if o.pid > 0 && o.target == "" {
		return fmt.Errorf("-pid goes with -target: a relay that the bench starts is known to it")
	}
	for _, name := range split(o.beside) {
		if known := besideOf(w); !slices.Contains(known, name) {
			return fmt.Errorf("-beside %s: this workload has %s", name, cmp.Or(strings.Join(known, ", "), "nothing to compare with"))
		}
	}
	if o.json != "" && o.json == o.page {
		return fmt.Errorf("-json and -report: both would be written to %s", o.json)
	}
	for _, a := range split(o.sources) {
		if addr, err := netip.ParseAddr(a); err != nil || !addr.Is4() {
			return fmt.Errorf("-sources: %q is no IPv4 address", a)
		}
	}
	return nil
}

// plain is a number without needless digits.
func plain(v float64) string { return fmt.Sprintf("%g", v) }

// split cuts a list at its commas; an empty text has no parts.
func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}
