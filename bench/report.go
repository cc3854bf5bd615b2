package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
)

// report is what a run has found, in the order in which it was found. Each of
// its parts is one line of JSON.
type report struct {
	run       runInfo
	figures   []*figure
	latencies []*latency
	accounts  []*account
	servers   []*serverAccount
	warnings  []warning
	leaks     error // what servers kept that they should not have

	mu      sync.Mutex
	samples []sample
}

// runInfo says what was measured where.
type runInfo struct {
	Type     string `json:"type"` // "run"
	Workload string `json:"workload"`
	build
	Time      string   `json:"time"` // RFC 3339
	Flags     []string `json:"flags"`
	Relay     string   `json:"relay,omitempty"`
	Version   string   `json:"relay_version,omitempty"` // what it says of itself
	Target    string   `json:"target,omitempty"`
	Kernel    string   `json:"kernel"`
	Machine   string   `json:"machine"`
	Cores     int      `json:"cores"`
	ServerCPU int      `json:"server_cpu"` // -1 is any
	ClientCPU int      `json:"client_cpu"`
	Setup     string   `json:"setup"` // sizes and counts
}

// figure is one measured quantity with its value in every round.
type figure struct {
	Type     string    `json:"type"` // "figure"
	Workload string    `json:"workload"`
	Name     string    `json:"figure"`
	Unit     string    `json:"unit"`
	Better   direction `json:"better,omitempty"`
	Median   float64   `json:"median"`
	Min      float64   `json:"min"`
	Max      float64   `json:"max"`
	Values   []float64 `json:"values"` // by round
}

// direction says which values of a figure are the better ones.
type direction string

const (
	lower  direction = "lower"
	higher direction = "higher"
	either direction = ""
)

// latency is one distribution over all rounds, in microseconds.
type latency struct {
	Type     string       `json:"type"` // "latency"
	Workload string       `json:"workload"`
	Server   string       `json:"server"`
	Name     string       `json:"latency"`
	Count    int64        `json:"count"`
	P50      float64      `json:"p50"`
	P99      float64      `json:"p99"`
	P999     float64      `json:"p99_9"`
	Max      float64      `json:"max"`
	Curve    [][2]float64 `json:"curve"` // percentage and microseconds

	spread *spread
}

// account is the tally of all messages of one server.
type account struct {
	Type     string `json:"type"` // "messages"
	Workload string `json:"workload"`
	Server   string `json:"server"`
	tally
}

// serverAccount is the most that the processes of one server have used.
type serverAccount struct {
	Type     string  `json:"type"` // "server"
	Workload string  `json:"workload"`
	Server   string  `json:"server"`
	User     float64 `json:"user_seconds"` // of all its processes
	System   float64 `json:"system_seconds"`
	usage
}

// warning is something that the reader of the figures has to know.
type warning struct {
	Type     string `json:"type"` // "warning"
	Workload string `json:"workload"`
	Text     string `json:"text"`
}

// add enters the value of one round.
func (r *report) add(name, unit string, better direction, value float64) {
	i := slices.IndexFunc(r.figures, func(f *figure) bool { return f.Name == name })
	if i < 0 {
		i = len(r.figures)
		r.figures = append(r.figures, &figure{Type: "figure", Workload: r.run.Workload, Name: name, Unit: unit, Better: better})
	}
	f := r.figures[i]
	f.Values = append(f.Values, value)
	f.Min, f.Median, f.Max = span(f.Values)
}

// span is the least, the middle and the largest of some values.
func span(values []float64) (least, median, most float64) {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return sorted[0], (sorted[(n-1)/2] + sorted[n/2]) / 2, sorted[n-1]
}

// reading is one server's value of a quantity in one round.
type reading struct {
	server string
	value  float64
}

// compare enters one quantity of a round for each server, and the relay's in
// relation to each of the others. NaN was not measured.
func (r *report) compare(quantity, unit string, better direction, of []reading) {
	for _, o := range of {
		if !math.IsNaN(o.value) {
			r.add(o.server+" "+quantity, unit, better, o.value)
		}
	}
	for _, o := range of[1:] {
		if v := of[0].value / o.value; !math.IsNaN(v) && !math.IsInf(v, 0) {
			r.add(fmt.Sprintf("%s %s ÷ %s", of[0].server, quantity, o.server), "", better, v)
		}
	}
}

// timed enters the latencies of one round.
func (r *report) timed(server, name string, s *spread) {
	if s.count() == 0 {
		return
	}
	i := slices.IndexFunc(r.latencies, func(l *latency) bool { return l.Server == server && l.Name == name })
	if i < 0 {
		i = len(r.latencies)
		r.latencies = append(r.latencies, &latency{Type: "latency", Workload: r.run.Workload, Server: server, Name: name, spread: newSpread()})
	}
	l := r.latencies[i]
	l.spread.merge(s)
	l.Count, l.P50, l.P99, l.P999, l.Max = l.spread.count(), l.spread.at(50), l.spread.at(99), l.spread.at(99.9), l.spread.at(100)
	l.Curve = l.spread.curve()
}

// count adds a tally to a server's account.
func (r *report) count(server string, t tally) {
	for _, a := range r.accounts {
		if a.Server == server {
			a.tally.add(t)
			return
		}
	}
	r.accounts = append(r.accounts, &account{Type: "messages", Workload: r.run.Workload, Server: server, tally: t})
}

// serverAccount enters what a server has used in its life.
func (r *report) serverAccount(s *server) {
	if !s.known() {
		return
	}
	i := slices.IndexFunc(r.servers, func(a *serverAccount) bool { return a.Server == s.name })
	if i < 0 {
		i = len(r.servers)
		r.servers = append(r.servers, &serverAccount{Type: "server", Workload: r.run.Workload, Server: s.name})
	}
	a := r.servers[i]
	user, system, _ := s.modes() // a server that has ended shows elsewhere
	a.User += user.Seconds()
	a.System += system.Seconds()
	a.usage = s.peak(a.usage)
}

// warn enters something once.
func (r *report) warn(format string, args ...any) {
	w := warning{"warning", r.run.Workload, fmt.Sprintf(format, args...)}
	if !slices.Contains(r.warnings, w) {
		r.warnings = append(r.warnings, w)
	}
}

func (r *report) sampled(s sample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Workload = r.run.Workload
	r.samples = append(r.samples, s)
}

// faults is the number of messages and connections that went wrong. That the
// goroutine design sends delayed pushes out of order is its nature, and no
// fault of the run.
func (r *report) faults() (n int64) {
	for _, a := range r.accounts {
		n += a.faults()
		if a.Server == besideRoutine {
			n -= a.Disordered
		}
	}
	return n
}

// lines are the parts of the report, each an object of JSON.
func (r *report) lines() []any {
	all := []any{r.run}
	for _, f := range r.figures {
		all = append(all, f)
	}
	for _, l := range r.latencies {
		all = append(all, l)
	}
	for _, a := range r.accounts {
		all = append(all, a)
	}
	for _, s := range r.servers {
		all = append(all, s)
	}
	for _, w := range r.warnings {
		all = append(all, w)
	}
	for _, s := range r.samples {
		all = append(all, s)
	}
	return all
}

// writeJSON writes one object a line.
func (r *report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	for _, l := range r.lines() {
		if err := e.Encode(l); err != nil {
			return err
		}
	}
	return nil
}
