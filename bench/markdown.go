package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// highlight is one line of the table that a README shows: a figure in words.
type highlight struct {
	workload string
	figure   string
	says     string
}

// highlights are the figures that say most, ratios before all.
func highlights() []highlight {
	return []highlight{
		{"idle", "relay RSS per connection", "resident memory of an idle connection with a token"},
		{"idle", "relay RSS per connection ÷ goroutine", "the same ÷ a goroutine a socket"},
		{"idle", "relay CPU per handshake ÷ floor", "CPU of a handshake ÷ a bare accept, read and write loop"},
		{"idle", "relay CPU per handshake ÷ goroutine", "the same ÷ a goroutine a socket"},
		{"idle", "relay CPU in a second of rest", "CPU in a second with all of them idle and no pings"},
		{"broadcast", "relay CPU per delivery, one at a time ÷ floor", "CPU of a broadcast's delivery ÷ a bare write loop over the same sockets"},
		{"broadcast", "relay CPU per delivery, bursts of 5 ÷ floor", "the same, a message, when five wait"},
		{"broadcast", "relay CPU per delivery, one at a time ÷ goroutine", "CPU of a broadcast's delivery ÷ a goroutine a socket"},
		{"push", "relay pushes per CPU second ÷ floor", "pushes a core, delivered ÷ a fasthttp handler that delivers nothing"},
		{"push", "relay pushes per CPU second ÷ bare", "the same ÷ a bare loop that delivers"},
		{"push", "relay pushes per CPU second ÷ goroutine", "the same ÷ a goroutine a socket"},
		{"mixed", "relay push alone p99", "p99 of a push"},
		{"mixed", "relay push beside broadcasts p99", "p99 of a push while broadcasts run"},
		{"mixed", "relay push beside broadcasts p99 ÷ goroutine", "the same ÷ a goroutine a socket"},
		{"mixed -all-cores", "relay push alone p99", "p99 of a push, relay and clients on all cores alike"},
		{"mixed -all-cores", "relay push beside broadcasts p99", "the same while broadcasts run"},
		{"mixed -all-cores", "relay push beside broadcasts p99 ÷ goroutine", "the same ÷ a goroutine a socket"},
		{"soak -all-cores", "push p99, by sample", "p99 of a push, delayed ones too, beside broadcasts and clients that come and go, on all cores alike"},
		{"delay", "relay lateness p99", "p99 of the lateness of a delayed push"},
		{"delay", "relay delayed pushes accepted a second ÷ relay-memory", "delayed pushes accepted a second, on disk ÷ in memory alone"},
		{"delay", "relay CPU per delayed push, accepted and delivered ÷ relay-memory", "CPU of a delayed push, on disk ÷ in memory alone"},
		{"delay", "relay-memory memory per waiting push, with its payload", "memory of a push that waits, in memory alone"},
		{"delay", "relay memory per waiting push, with its payload ÷ relay-memory", "the same, on disk ÷ in memory alone"},
		{"delay -restart", "relay delayed pushes accepted a second", "delayed pushes accepted a second, each safe on disk"},
		{"delay -restart", "relay start until /health answers, with all pushes waiting", "start after a crash, with all pushes waiting"},
		{"delay -restart", "relay RSS after that start", "resident memory then"},
		{"delay -restart", "relay memory per waiting push after that start", "memory of a push that waits then"},
		{"delay -restart", "relay lateness p99", "p99 of the lateness after the crash"},
		{"storm", "relay time until all are back", "time until all clients are back that dropped at once"},
		{"storm", "relay time until all are back ÷ goroutine", "the same ÷ a goroutine a socket"},
		{"storm", "relay CPU per client that drops and returns ÷ floor", "CPU of a client that drops and returns ÷ a bare loop"},
	}
}

// runMarkdown is "bench markdown RUN.json...".
func runMarkdown(args []string, stdout, stderr io.Writer) int {
	if code, ok := usable(args, len(args) >= 1, "markdown takes one or more files that -json wrote: RUN.json...", stdout, stderr); !ok {
		return code
	}
	var all document
	for _, name := range args {
		d, err := readDocument(name)
		if err != nil {
			fmt.Fprintln(stderr, "bench:", err)
			return exitFailed
		}
		all.runs = append(all.runs, d.runs...)
		all.figures = append(all.figures, d.figures...)
		all.accounts = append(all.accounts, d.accounts...)
	}
	if err := writeMarkdown(stdout, all); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitFailed
	}
	return exitOK
}

// writeMarkdown writes a table for a README: what was measured, with which
// command, on what, and the account of all messages.
func writeMarkdown(w io.Writer, d document) error {
	var text strings.Builder
	fmt.Fprintln(&text, "| What | Median | Least to most | Command |\n|---|---|---|---|")
	for _, h := range highlights() {
		i := slices.IndexFunc(d.figures, func(f *figure) bool { return f.Workload == h.workload && f.Name == h.figure })
		r := slices.IndexFunc(d.runs, func(r runInfo) bool { return r.Workload == h.workload })
		if i < 0 || r < 0 {
			continue // not measured
		}
		f := d.figures[i]
		scale, unit := scaleOf(f)
		fmt.Fprintf(&text, "| %s | %s %s | %s to %s | `%s` |\n",
			h.says, short(f.Median/scale), unit, short(f.Min/scale), short(f.Max/scale), d.runs[r].command())
	}
	var relay tally
	for _, a := range d.accounts {
		if a.Server == underTest {
			relay.add(a.tally)
		}
	}
	fmt.Fprintf(&text, "\nOf %d messages that the relay had to deliver: %d lost, %d duplicated, %d out of order, %d misrouted, %d damaged; %d clients closed.\n",
		relay.Expected, relay.Lost, relay.Duplicated, relay.Disordered, relay.Misrouted, relay.Damaged, relay.Closed)
	var places []string // one, but for files from several machines or commits
	for _, r := range d.runs {
		place := fmt.Sprintf("Commit %s, %s, %s, %d cores, kernel %s, loopback.", r.build, r.Go, r.Machine, r.Cores, r.Kernel)
		if !slices.Contains(places, place) {
			places = append(places, place)
		}
	}
	fmt.Fprintln(&text, strings.Join(places, "\n"))
	_, err := io.WriteString(w, text.String())
	return err
}

// scaleOf is the unit that people read a figure in. What has none is a ratio.
func scaleOf(f *figure) (scale float64, unit string) {
	switch {
	case f.Unit == "":
		return 1, "×"
	case f.Unit == "µs" && f.Median >= 1000:
		return 1000, "ms"
	}
	return 1, f.Unit
}

// command is how the run can be had again: without the flags that only say
// what program is measured and where its figures go.
func (r runInfo) command() string {
	name, _, _ := strings.Cut(r.Workload, " ")
	command := []string{"go run ./bench", name}
	for i := 0; i < len(r.Flags); i++ {
		flag, _, joined := strings.Cut(strings.TrimLeft(r.Flags[i], "-"), "=")
		switch flag {
		case "json", "relay", "report":
			if !joined {
				i++ // its value
			}
		default:
			command = append(command, r.Flags[i])
		}
	}
	return strings.Join(command, " ")
}
