package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
)

// report is what a run has found, in the order in which it was found.
type report struct {
	run      runInfo
	figures  []*figure
	accounts []*account
}

// runInfo says what was measured where.
type runInfo struct {
	Type      string `json:"type"` // "run"
	Workload  string `json:"workload"`
	Relay     string `json:"relay"`
	Kernel    string `json:"kernel"`
	Go        string `json:"go"` // of the bench
	Cores     int    `json:"cores"`
	ServerCPU int    `json:"server_cpu"` // -1 is any
	ClientCPU int    `json:"client_cpu"`
	Setup     string `json:"setup"` // sizes and counts
}

// figure is one measured quantity with its value in every round.
type figure struct {
	Type     string    `json:"type"` // "figure"
	Workload string    `json:"workload"`
	Name     string    `json:"figure"`
	Unit     string    `json:"unit"`
	Median   float64   `json:"median"`
	Min      float64   `json:"min"`
	Max      float64   `json:"max"`
	Values   []float64 `json:"values"` // by round
}

// account is the tally of all messages of one server.
type account struct {
	Type     string `json:"type"` // "messages"
	Workload string `json:"workload"`
	Server   string `json:"server"`
	tally
}

// add enters the value of one round.
func (r *report) add(name, unit string, value float64) {
	i := slices.IndexFunc(r.figures, func(f *figure) bool { return f.Name == name })
	if i < 0 {
		i = len(r.figures)
		r.figures = append(r.figures, &figure{Type: "figure", Workload: r.run.Workload, Name: name, Unit: unit})
	}
	f := r.figures[i]
	f.Values = append(f.Values, value)
	sorted := slices.Sorted(slices.Values(f.Values))
	n := len(sorted)
	f.Min, f.Max, f.Median = sorted[0], sorted[n-1], (sorted[(n-1)/2]+sorted[n/2])/2
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

// faults is the number of messages and connections that went wrong.
func (r *report) faults() (n int64) {
	for _, a := range r.accounts {
		n += a.faults()
	}
	return n
}

// writeJSON writes one object a line: the run, the figures, the accounts.
func (r *report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	if err := e.Encode(r.run); err != nil {
		return err
	}
	for _, f := range r.figures {
		if err := e.Encode(f); err != nil {
			return err
		}
	}
	for _, a := range r.accounts {
		if err := e.Encode(a); err != nil {
			return err
		}
	}
	return nil
}

// writeTable writes the same for people.
func (r *report) writeTable(w io.Writer) error {
	fmt.Fprintf(w, "%s: %s\n%s\nkernel %s, bench built with %s, %d cores, server on core %s, clients on core %s\n\n", r.run.Workload, r.run.Setup,
		r.run.Relay, r.run.Kernel, r.run.Go, r.run.Cores, coreName(r.run.ServerCPU), coreName(r.run.ClientCPU))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "median\tmin\tmax\trounds\tunit\t   figure")
	for _, f := range r.figures {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t   %s\n", short(f.Median), short(f.Min), short(f.Max), len(f.Values), f.Unit, f.Name)
	}
	if len(r.accounts) > 0 {
		fmt.Fprintln(t, "\nexpected\tdelivered\tlost\tduplicated\tout of order\tmisrouted\tdamaged\tclosed\t   messages of")
	}
	for _, a := range r.accounts {
		fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t   %s\n",
			a.Expected, a.Delivered, a.Lost, a.Duplicated, a.Disordered, a.Misrouted, a.Damaged, a.Closed, a.Server)
	}
	return t.Flush()
}

// short is v with three or four digits that matter.
func short(v float64) string {
	digits := 0
	switch a := max(v, -v); {
	case a < 10:
		digits = 3
	case a < 100:
		digits = 2
	case a < 1000:
		digits = 1
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

func coreName(cpu int) string {
	if cpu < 0 {
		return "any"
	}
	return strconv.Itoa(cpu)
}
