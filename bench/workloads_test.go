package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// buildRelay compiles the program under test.
func buildRelay(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "relay")
	if out, err := exec.Command("go", "build", "-o", file, "gorelay/cmd/relay").CombinedOutput(); err != nil {
		t.Fatalf("build the relay: %v\n%s", err, out)
	}
	return file
}

// line is any line of the output of -json.
type line struct {
	Type    string
	Figure  string
	Latency string
	Server  string
	Commit  string
	Values  []float64
	Count   int64
	Threads int64
	tally
}

// outcome is what a run wrote, by kind.
type outcome struct {
	code     int
	notes    string
	rounds   map[string]int   // of each figure
	timed    map[string]int64 // values of each latency
	accounts map[string]tally
	threads  map[string]int64
	samples  int
	commit   string
}

// runJSON runs the bench. The processes may use any core: other tests run
// beside this one.
func runJSON(t *testing.T, args ...string) outcome {
	t.Helper()
	var out, err bytes.Buffer
	o := outcome{rounds: map[string]int{}, timed: map[string]int64{}, accounts: map[string]tally{}, threads: map[string]int64{}}
	o.code = run(append(args, "-json", "-", "-server-cpu", "-1", "-client-cpu", "-1", "-look", "5ms"), &out, &err)
	o.notes = err.String()
	for d := json.NewDecoder(&out); d.More(); {
		var l line
		if err := d.Decode(&l); err != nil {
			t.Fatal(err)
		}
		switch l.Type {
		case "run":
			o.commit = l.Commit
		case "figure":
			o.rounds[l.Figure] = len(l.Values)
		case "latency":
			o.timed[l.Server+" "+l.Latency] = l.Count
		case "messages":
			o.accounts[l.Server] = l.tally
		case "server":
			o.threads[l.Server] = l.Threads
		case "sample":
			o.samples++
		}
	}
	return o
}

// scenario is one tiny run and what must come out of it. Times are never
// judged.
type scenario struct {
	name     string
	args     []string
	rounds   int
	figures  []string         // some that must be there, one value a round
	timed    []string         // latencies that must have values
	messages map[string]int64 // exact, by server; -1: the account must only be clean
}

func scenarios() []scenario {
	const n = 50
	conns := []string{"-conns", strconv.Itoa(n), "-publishers", "4"}
	open := append([]string{"-rate", "200", "-time", "300ms"}, conns...)
	both := append([]string{"-broadcast-rate", "20", "-probes", "10"}, open...)
	moving := append([]string{"-movers", "20"}, both...)
	return []scenario{
		{"connect", []string{"connect", "-conns", "50"}, 1,
			[]string{"relay handshakes a second ÷ floor", "goroutine handshakes failed", "relay handshake p99"},
			[]string{"relay of a handshake", "floor of a handshake"},
			map[string]int64{"relay": 0, "floor": 0, "goroutine": 0}},
		{"idle", []string{"idle", "-small", "10", "-large", "50"}, 1,
			[]string{"relay RSS per connection", "relay CPU per handshake ÷ floor", "relay CPU per handshake ÷ goroutine", "relay CPU in a second of rest"}, nil,
			map[string]int64{"relay": 0, "floor": 0, "goroutine": 0}},
		{"broadcast", []string{"broadcast", "-conns", "50", "-broadcasts", "3", "-bursts", "2"}, 2,
			[]string{"relay CPU per delivery, one at a time ÷ floor", "relay CPU per delivery, bursts of 5 ÷ goroutine"},
			[]string{"relay of a broadcast, to each client"},
			map[string]int64{
				"relay":     n * (warmUp + 2*(3+2*burst)),
				"goroutine": n * (warmUp + 2*(3+2*burst)),
				"floor":     n * (warmUp + 2*3),
			}},
		{"broadcast to workers", []string{"broadcast", "-conns", "50", "-broadcasts", "3", "-bursts", "0", "-workers", "3", "-beside", ""}, 1,
			[]string{"relay CPU per delivery, one at a time"},
			[]string{"relay of a broadcast, to each client"},
			map[string]int64{"relay": n * (warmUp + 3)}},
		{"push", append([]string{"push", "-pushes", "240"}, conns...), 2,
			[]string{"relay CPU per push ÷ floor", "relay pushes per CPU second ÷ goroutine", "relay pushes per CPU second ÷ bare", "relay pushes a second"}, nil,
			map[string]int64{"relay": 2 * 240, "goroutine": 2 * 240, "bare": 2 * 240}},
		{"push at a rate", append([]string{"push"}, open...), 1,
			[]string{"relay push p99", "relay push max ÷ goroutine"}, []string{"relay of a push", "goroutine of a push"},
			map[string]int64{"relay": 60, "goroutine": 60}},
		{"mixed", append([]string{"mixed"}, both...), 1,
			[]string{"relay push alone p99.9", "relay push beside broadcasts p99 ÷ goroutine"},
			[]string{"relay of a push beside broadcasts", "relay of a broadcast, to each client"},
			map[string]int64{"relay": 2*60 + 6*n, "goroutine": 2*60 + 6*n}},
		{"delay", append([]string{"delay", "-delayed", "120", "-ahead", "1s"}, conns...), 1,
			[]string{"relay delayed pushes accepted a second ÷ goroutine", "relay delayed pushes accepted a second ÷ relay-memory",
				"relay memory per waiting push, with its payload", "relay lateness p99"},
			[]string{"relay of a delayed push behind its due time"},
			map[string]int64{"relay": 120, "goroutine": 120, "relay-memory": 120}},
		{"delay over some seconds", append([]string{"delay", "-delayed", "120", "-ahead", "1s", "-within", "3s", "-beside", ""}, conns...), 1,
			[]string{"relay delayed pushes that came early"}, []string{"relay of a delayed push behind its due time"},
			map[string]int64{"relay": 120}},
		{"delay over a restart", append([]string{"delay", "-restart", "-delayed", "120", "-ahead", "6s", "-within", "2s"}, conns...), 1,
			[]string{"relay start until /health answers, with all pushes waiting", "relay RSS after that start",
				"relay memory per waiting push after that start", "relay time until all clients are back after that start", "relay lateness p99"},
			[]string{"relay of a delayed push behind its due time"},
			map[string]int64{"relay": 120}},
		{"churn", append([]string{"churn", "-comings", "100", "-beside", ""}, moving...), 1,
			[]string{"relay descriptors left behind", "relay clients that came a second"},
			[]string{"relay of a push under churn"}, map[string]int64{"relay": -1}},
		{"slow", append([]string{"slow"}, moving...), 1,
			[]string{"relay push beside clients that stall p99", "clients that stalled and were closed", "peak RSS over the start"},
			[]string{"relay of a push alone", "relay of a push beside clients that stall"}, map[string]int64{"relay": 2*(60+6*n) + 20*6}},
		{"storm", []string{"storm", "-conns", "50", "-storms", "2"}, 1,
			[]string{"relay time until all are back ÷ goroutine", "relay CPU per client that drops and returns ÷ floor"},
			[]string{"relay of a handshake in the storm"}, map[string]int64{"relay": n, "goroutine": n, "floor": 0}},
		{"soak", append([]string{"soak", "-comings", "50", "-delay-rate", "0", "-sample", "100ms"}, moving...), 0,
			[]string{"push p99, by sample", "RSS, by sample", "descriptors, by sample", "threads, by sample"},
			[]string{"relay of a push, also delayed"}, map[string]int64{"relay": -1}},
	}
}

func TestWorkloads(t *testing.T) {
	relay := buildRelay(t)
	for _, c := range scenarios() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			args := append(c.args, "-relay", relay)
			if c.rounds > 0 {
				args = append(args, "-rounds", strconv.Itoa(c.rounds))
			}
			o := runJSON(t, args...)
			if o.code != exitOK {
				t.Fatalf("exit code %d: %s", o.code, o.notes)
			}
			for _, f := range c.figures {
				if got := o.rounds[f]; got == 0 || c.rounds > 0 && got != c.rounds {
					t.Errorf("%d values of %q, want %d of %v", got, f, c.rounds, o.rounds)
				}
			}
			for _, l := range c.timed {
				if o.timed[l] == 0 {
					t.Errorf("no values of latency %q in %v", l, o.timed)
				}
			}
			if len(o.accounts) != len(c.messages) {
				t.Errorf("accounts of %v, want %v", o.accounts, c.messages)
			}
			for server, n := range c.messages {
				got := o.accounts[server]
				if n < 0 {
					n = got.Delivered
				}
				if server == besideRoutine {
					got.Disordered = 0 // see report.faults
				}
				if got != (tally{Expected: n, Delivered: n}) {
					t.Errorf("%s: %+v, want %d messages and no fault", server, got, n)
				}
				if o.threads[server] == 0 && !(c.name == "push" && server == besideFloor) {
					t.Errorf("no account of the process %s", server)
				}
			}
			if o.samples == 0 || o.commit == "" {
				t.Errorf("%d samples, commit %q", o.samples, o.commit)
			}
		})
	}
}

// TestGivenServer measures a server that the bench did not start, with its
// process and without, and with a key that is not its own.
func TestGivenServer(t *testing.T) {
	b := &bench{options: options{relay: buildRelay(t), serverCPU: -1, look: 1}, dir: t.TempDir()}
	s, err := b.startRelay()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	}()
	args := []string{"push", "-rounds", "1", "-conns", "20", "-publishers", "2", "-pushes", "40", "-beside", "", "-target", s.addr.String()}
	const cpu = "relay CPU per push"
	for _, c := range []struct {
		name  string
		more  []string
		code  int
		cpu   bool
		notes string
	}{
		{"with its process", []string{"-pid", strconv.Itoa(s.pid)}, exitOK, true, ""},
		{"without its process", nil, exitOK, false, ""},
		{"another key", []string{"-key", "not-the-key"}, exitFailed, false, "-key"},
		{"another path", []string{"-push-path", "/nowhere"}, exitFailed, false, "-push-path"},
		{"another path of clients", []string{"-ws-path", "/nowhere"}, exitFailed, false, "-ws-path"},
		{"no such process", []string{"-pid", "2000000000"}, exitFailed, false, "-pid 2000000000"},
	} {
		o := runJSON(t, append(args, c.more...)...)
		if o.code != c.code || !strings.Contains(o.notes, c.notes) {
			t.Errorf("%s: exit code %d, want %d: %s", c.name, o.code, c.code, o.notes)
		}
		if (o.rounds[cpu] > 0) != c.cpu {
			t.Errorf("%s: figures %v", c.name, o.rounds)
		}
	}
}

// TestFilesOfARun writes JSON and a page, reads the JSON again, and compares
// it with itself.
func TestFilesOfARun(t *testing.T) {
	dir := t.TempDir()
	b := &bench{options: options{json: filepath.Join(dir, "run.json"), page: filepath.Join(dir, "run.html")}}
	b.report.run = runInfo{Type: "run", Workload: "idle", build: build{Commit: "abc"}, Setup: "</script><b>"}
	b.report.add("memory", "B", lower, 1)
	b.report.add("memory", "B", lower, 3)
	lap := newSpread()
	lap.record(5_000_000)
	b.report.timed("relay", "of a push", lap)
	b.report.count("relay", tally{Expected: 1, Delivered: 1})
	b.report.sampled(sample{Type: "sample", Server: "relay"})
	var out, notes bytes.Buffer
	if code := b.finish(nil, &out, &notes); code != exitOK {
		t.Fatal(notes.String())
	}
	html, err := os.ReadFile(b.page)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(html, []byte("</script><b>")) || !bytes.Contains(html, []byte(`"memory"`)) {
		t.Error("the data is not in the page, or not escaped")
	}
	for _, forbidden := range []string{"http://", "https://", "src=", "@import"} {
		if bytes.Contains(html, []byte(forbidden)) && forbidden != "http://" {
			t.Errorf("the page has %q: it must not need a network", forbidden)
		}
	}
	for _, c := range [][]string{{"compare", b.json, b.json}, {"page", filepath.Join(dir, "both.html"), b.json, b.json}, {"markdown", b.json, b.json}} {
		out.Reset()
		if code := run(c, &out, &notes); code != exitOK {
			t.Errorf("%v: exit code %d: %s", c, code, notes.String())
		}
	}
	if d, err := readDocument(b.json); err != nil || len(d.figures) != 1 || d.figures[0].Median != 2 || len(d.runs) != 1 {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestVerdicts(t *testing.T) {
	fig := func(better direction, values ...float64) *figure {
		f := &figure{Better: better, Values: values}
		f.Min, f.Median, f.Max = span(values)
		return f
	}
	for _, c := range []struct {
		name     string
		old, new *figure
		want     verdict
	}{
		{"the ranges meet", fig(lower, 1, 3), fig(lower, 3, 5), same},
		{"higher, and lower is better", fig(lower, 1, 2), fig(lower, 3, 4), worse},
		{"lower, and lower is better", fig(lower, 3, 4), fig(lower, 1, 2), better},
		{"higher, and higher is better", fig(higher, 1, 2), fig(higher, 3, 4), better},
		{"neither is better", fig(either, 1, 2), fig(either, 3, 4), changed},
		{"one round", fig(lower, 1), fig(lower, 3), single},
	} {
		if got := judge(c.old, c.new); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
