package main

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
)

// writeTable writes the report for people.
func (r *report) writeTable(w io.Writer) error {
	where := r.run.Relay
	if r.run.Target != "" {
		where = "the server at " + r.run.Target
	}
	if r.run.Version != "" {
		where += ": " + r.run.Version
	}
	fmt.Fprintf(w, "%s: %s\n%s, bench at commit %s, built with %s\n%s, %d cores, kernel %s, server on core %s, clients on core %s\n", r.run.Workload, r.run.Setup,
		where, r.run.build, r.run.Go, r.run.Machine, r.run.Cores, r.run.Kernel, coreName(r.run.ServerCPU), coreName(r.run.ClientCPU))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	if len(r.figures) > 0 {
		fmt.Fprintln(t, "\nmedian\tmin\tmax\trounds\tunit\t   figure")
	}
	for _, f := range r.figures {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t   %s\n", short(f.Median), short(f.Min), short(f.Max), len(f.Values), f.Unit, f.Name)
	}
	if len(r.latencies) > 0 {
		fmt.Fprintln(t, "\np50 ms\tp99 ms\tp99.9 ms\tmax ms\tcount\t   latency")
	}
	for _, l := range r.latencies {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t   %s %s\n", short(l.P50/1e3), short(l.P99/1e3), short(l.P999/1e3), short(l.Max/1e3), l.Count, l.Server, l.Name)
	}
	if len(r.servers) > 0 {
		fmt.Fprintln(t, "\nuser s\tsystem s\tpeak RSS KiB\tthreads\tdescriptors\tall TCP buffers KiB\t   process")
	}
	for _, s := range r.servers {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t   %s\n", short(s.User), short(s.System), s.RSS>>10, s.Threads, s.Descriptors, s.Sockets>>10, s.Server)
	}
	if len(r.accounts) > 0 {
		fmt.Fprintln(t, "\nexpected\tdelivered\tlost\tduplicated\tout of order\tmisrouted\tdamaged\tclosed\t   messages of")
	}
	for _, a := range r.accounts {
		fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t   %s\n",
			a.Expected, a.Delivered, a.Lost, a.Duplicated, a.Disordered, a.Misrouted, a.Damaged, a.Closed, a.Server)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, n := range r.warnings {
		fmt.Fprintf(w, "\nnote: %s\n", n.Text)
	}
	return nil
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
