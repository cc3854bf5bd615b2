package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMain is the bench itself when a test starts a child: the floors and
// the workers are this program, which here is the test.
func TestMain(m *testing.M) {
	if isChild(os.Args[1:]) {
		os.Exit(runChild(os.Args[1]))
	}
	os.Exit(m.Run())
}

// TestFaultsFail: a run with a fault prints its account and ends with 1.
func TestFaultsFail(t *testing.T) {
	for _, c := range []struct {
		name string
		t    tally
		code int
	}{
		{"clean", tally{Expected: 2, Delivered: 2}, exitOK},
		{"lost", tally{Expected: 2, Delivered: 1, Lost: 1}, exitFailed},
		{"duplicated", tally{Expected: 2, Delivered: 2, Duplicated: 1}, exitFailed},
		{"out of order", tally{Expected: 2, Delivered: 2, Disordered: 1}, exitFailed},
		{"misrouted", tally{Misrouted: 1}, exitFailed},
		{"damaged", tally{Damaged: 1}, exitFailed},
		{"closed", tally{Closed: 1}, exitFailed},
	} {
		b := &bench{}
		b.report.count("relay", tally{Expected: 5, Delivered: 5})
		b.report.count("relay", c.t)
		var out, notes bytes.Buffer
		if code := b.finish(nil, &out, &notes); code != c.code {
			t.Errorf("%s: exit code %d, want %d", c.name, code, c.code)
		}
		if !strings.Contains(out.String(), "out of order") {
			t.Errorf("%s: the account is not printed:\n%s", c.name, out.String())
		}
	}
}

func TestHelpfulErrors(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("#!/bin/sh\necho no port here\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	relay := buildRelay(t)
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"no such workload", []string{"sleep"}, exitUsage, `no workload "sleep"`},
		{"a stray word", []string{"idle", "now"}, exitUsage, `"now" is no flag`},
		{"a size that cannot be", []string{"push", "-conns", "0"}, exitUsage, "-conns must be at least 1, not 0"},
		{"sizes in the wrong order", []string{"idle", "-small", "5", "-large", "5"}, exitUsage, "-large must be at least 6, not 5"},
		{"more publishers than clients", []string{"push", "-conns", "3"}, exitUsage, "-publishers must be at most -conns"},
		{"a rate below nothing", []string{"push", "-rate", "-1"}, exitUsage, "-rate must be at least 0, not -1"},
		{"a run of no time", []string{"soak", "-time", "0s"}, exitUsage, "-time must be more than 0"},
		{"a delay of half a second", []string{"delay", "-within", "1500ms"}, exitUsage, "-within must be whole seconds"},
		{"due within no time", []string{"delay", "-within", "0s"}, exitUsage, "-within must be whole seconds"},
		{"the end of a server of somebody else", []string{"delay", "-restart", "-target", "127.0.0.1:1"}, exitUsage, "-restart goes without -target"},
		{"two servers", []string{"idle", "-relay", "x", "-target", "y:1"}, exitUsage, "only one of them"},
		{"a process without its address", []string{"idle", "-pid", "1"}, exitUsage, "-pid goes with -target"},
		{"no such company", []string{"idle", "-beside", "nothing"}, exitUsage, "this workload has floor, goroutine"},
		{"company for another workload", []string{"push", "-beside", "memory"}, exitUsage, "this workload has floor, goroutine, bare"},
		{"company for none", []string{"soak", "-beside", "floor"}, exitUsage, "nothing to compare with"},
		{"an unknown flag", []string{"push", "-nope"}, exitUsage, "bench push -h shows the flags"},
		{"to gather for less than no time", []string{"push", "-gather", "-1s"}, exitUsage, "-gather must be at least 0"},
		{"fewer pushes than turns", []string{"push", "-pushes", "63"}, exitUsage, "-pushes must be at least 64"},
		{"two outputs in one file", []string{"push", "-json", "x", "-report", "x"}, exitUsage, "both would be written to x"},
		{"a file that cannot be", []string{"push", "-json", "/no/such/folder/x"}, exitUsage, "no such file or directory"},
		{"a page over a run", []string{"page", empty, empty}, exitUsage, "does not end with .html"},
		{"no address", []string{"idle", "-sources", "here"}, exitUsage, "no IPv4 address"},
		{"nobody there", []string{"push", "-target", "127.0.0.1:1"}, exitFailed, "is it running"},
		{"no host and port", []string{"push", "-target", "somewhere"}, exitFailed, "it is host:port"},
		{"compare with nothing", []string{"compare", "x"}, exitUsage, "OLD.json NEW.json"},
		{"compare with no file", []string{"compare", "/no/such", "/no/such"}, exitFailed, "no such file"},
		{"a table of nothing", []string{"markdown"}, exitUsage, "RUN.json"},
		{"a table of no file", []string{"markdown", "/no/such"}, exitFailed, "no such file"},
		{"a page of nothing", []string{"page", "x"}, exitUsage, "OUT.html RUN.json"},
		{"no such relay", []string{"idle", "-relay", "/no/such/relay"}, exitFailed, "not a program that can be run"},
		{"too many connections", []string{"push", "-conns", "2000000000"}, exitFailed, "raise the limit"},
		{"no such core", []string{"push", "-relay", empty, "-server-cpu", "1000"}, exitFailed, "is there such a core"},
		{"addresses of others", []string{"push", "-relay", relay, "-conns", "20", "-sources", "192.0.2.1"}, exitFailed, "192.0.2.1 is no address of this machine"},
		{"a relay that ends at once", []string{"push", "-relay", empty}, exitFailed, "no port here"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, notes bytes.Buffer
			args := c.args
			if c.code == exitFailed && c.args[0] != "compare" && c.args[0] != "markdown" { // the last of two equal flags counts
				args = append([]string{args[0], "-server-cpu", "-1", "-client-cpu", "-1"}, args[1:]...)
			}
			if code := run(args, &out, &notes); code != c.code || !strings.Contains(notes.String(), c.says) {
				t.Errorf("exit code %d, want %d; %q, want %q in it", code, c.code, notes.String(), c.says)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	var out, notes bytes.Buffer
	if code := run([]string{"-h"}, &out, &notes); code != exitOK {
		t.Fatalf("exit code %d", code)
	}
	for _, w := range workloads() {
		if !strings.Contains(out.String(), w.summary) {
			t.Errorf("-h does not say what %s is", w.name)
		}
	}
}

func TestLedger(t *testing.T) {
	const size = 80
	wire := func(to, seq int) []byte {
		return append(append([]byte(`{"event":"bench","data":{"subject":`), appendSubject(nil, message{to: to, seq: seq}, size)...), `,"ts":1,"token":null}}`...)
	}
	type came struct{ to, seq int }
	for _, c := range []struct {
		name     string
		came     []came // at client 1
		expected int64
		want     tally
	}{
		{"all well", []came{{1, 1}, {1, 2}, {1, 3}}, 3, tally{Delivered: 3}},
		{"to everyone", []came{{everyone, 1}, {everyone, 2}}, 2, tally{Delivered: 2}},
		{"own and to everyone", []came{{1, 1}, {everyone, 1}, {everyone, 2}, {1, 2}}, 4, tally{Delivered: 4}},
		{"doubled to everyone", []came{{1, 1}, {everyone, 1}, {everyone, 1}}, 2, tally{Delivered: 2, Duplicated: 1}},
		{"one lost", []came{{1, 1}, {1, 3}}, 3, tally{Delivered: 2, Lost: 1}},
		{"the last lost", []came{{1, 1}}, 2, tally{Delivered: 1, Lost: 1}},
		{"doubled at once", []came{{1, 1}, {1, 1}, {1, 2}}, 2, tally{Delivered: 2, Duplicated: 1}},
		{"doubled behind a gap", []came{{1, 2}, {1, 2}, {1, 1}}, 2, tally{Delivered: 2, Duplicated: 1, Disordered: 1}},
		{"one late by two", []came{{1, 2}, {1, 3}, {1, 1}, {1, 4}}, 4, tally{Delivered: 4, Disordered: 1}},
		{"backwards", []came{{1, 3}, {1, 2}, {1, 1}}, 3, tally{Delivered: 3, Disordered: 2}},
		{"late and doubled", []came{{1, 2}, {1, 1}, {1, 1}, {1, 2}}, 2, tally{Delivered: 2, Duplicated: 2, Disordered: 1}},
		{"for another", []came{{1, 1}, {0, 2}}, 1, tally{Delivered: 1, Misrouted: 1}},
		{"never sent", []came{{1, 0}, {1, 1}}, 1, tally{Delivered: 1, Damaged: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLedger(0, 2, size)
			for _, m := range c.came {
				l.take(1, wire(m.to, m.seq))
			}
			c.want.Expected = c.expected
			if got := l.settle(c.expected); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if broken := c.want.faults() > 0; broken != (c.name != "all well" && c.name != "to everyone" && c.name != "own and to everyone") {
				t.Errorf("%+v has %d faults", c.want, c.want.faults())
			}
		})
	}
}

// TestEveryByteOfASubjectCounts flips each byte of a message's subject.
func TestEveryByteOfASubjectCounts(t *testing.T) {
	const size, before = 80, "before "
	for i := range size {
		l := newLedger(0, 20, size)
		m := append([]byte(before), appendSubject(nil, message{17, 1, 123456789}, size)...)
		m[len(before)+i] ^= 1
		l.take(17, m)
		// A changed number may be somebody else's message, or one never sent.
		if got := l.settle(1); got.faults() == 0 {
			t.Errorf("byte %d changed: %+v", i, got)
		}
	}
}

// TestFramesInPieces cuts an answer and its frames at every byte.
func TestFramesInPieces(t *testing.T) {
	const size = 80
	wire := []byte("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: " + handshakeAccept + "\r\n\r\n")
	for seq := range 3 {
		wire = append(wire, textFrame(append([]byte(strings.Repeat(" ", 40*seq)), appendSubject(nil, message{to: 0, seq: seq + 1}, size)...))...)
	}
	for cut := range wire {
		s := newSwarm(plan{Count: 1, Payload: size}, func(status) {})
		s.clients[0] = client{fd: -1, state: clientHandshaking}
		for _, piece := range [][]byte{wire[:cut], wire[cut:]} {
			if err := s.take(0, append([]byte(nil), piece...)); err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
		}
		if got := s.ledger.settle(3); got != (tally{Expected: 3, Delivered: 3}) || s.clients[0].part != nil {
			t.Errorf("cut at %d: %+v, %d bytes left", cut, got, len(s.clients[0].part))
		}
	}
}

// TestSwarmSeesALoss connects to a server that leaves one message out and sends
// another twice.
func TestSwarmSeesALoss(t *testing.T) {
	const size = 80
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan struct{})
	go func() { // ends when the swarm is closed, at the latest with l
		defer close(served)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		var request [4 << 10]byte
		_, _ = conn.Read(request[:])
		wire := []byte("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: " + handshakeAccept + "\r\n\r\n")
		for _, seq := range []int{1, 3, 3, 4} {
			wire = append(wire, textFrame(appendSubject(nil, message{to: everyone, seq: seq}, size))...)
		}
		_, _ = conn.Write(wire)
		_, _ = conn.Read(request[:])
	}()
	p := plan{Target: netip.MustParseAddrPort(l.Addr().String()), WSPath: wsPath, Count: 1, Dialing: 1, Payload: size}
	s, err := startFleet(p, 0, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	err = s.await(3)
	got, failed := s.end(4)
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	<-served
	if want := (tally{Expected: 4, Delivered: 3, Lost: 1, Duplicated: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		size         int
		says         string // in the error
	}{
		{"ok", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 40, ""},
		{"the next one behind it", "HTTP/1.1 200 OK\r\ncontent-length:2\r\n\r\n{}HTTP", 39, ""},
		{"head in part", "HTTP/1.1 200 OK\r\nContent-Le", 0, errPartial.Error()},
		{"body in part", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{", 0, errPartial.Error()},
		{"no length", "HTTP/1.1 200 OK\r\n\r\n", 0, "no Content-Length"},
		{"wrong key", "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}", 0, "config.json"},
		{"busy", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy", 0, "busy"},
	} {
		size, err := judgeAnswer([]byte(c.answer))
		if size != c.size || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %d, %v; want %d, %q", c.name, size, err, c.size, c.says)
		}
	}
}

// TestLives: clients that come and go lose nothing before their first message
// and behind their last.
func TestLives(t *testing.T) {
	const size = 80
	for _, c := range []struct {
		name  string
		lives [][]int // the numbers that came in each life
		want  tally
	}{
		{"from the middle", [][]int{{5, 6, 7}}, tally{Expected: 3, Delivered: 3}},
		{"two lives", [][]int{{5, 6}, {9, 10}}, tally{Expected: 4, Delivered: 4}},
		{"nothing came", [][]int{{}, {}}, tally{}},
		{"a gap", [][]int{{5, 8}, {9}}, tally{Expected: 5, Delivered: 3, Lost: 2}},
		{"doubled", [][]int{{5, 5}}, tally{Expected: 1, Delivered: 1, Duplicated: 1}},
		{"the same in the next life", [][]int{{5}, {5}}, tally{Expected: 2, Delivered: 2}},
	} {
		l := newLedger(7, 1, size)
		l.leave(0)
		for _, life := range c.lives {
			for _, seq := range life {
				l.take(0, appendSubject(nil, message{to: everyone, seq: seq}, size))
			}
			l.leave(0)
		}
		if got := l.settleLives(); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// Many publishers that fail are one error, which says how many.
func TestAwaitAll(t *testing.T) {
	gone := errors.New("the target is gone")
	for _, tt := range []struct {
		results []error
		want    string
	}{
		{[]error{nil, nil}, ""},
		{[]error{nil, gone}, "the target is gone"},
		{[]error{gone, nil, gone, errors.New("other")}, "the target is gone (and 2 more publishers failed)"},
	} {
		results := make(chan error, len(tt.results))
		for _, err := range tt.results {
			results <- err
		}
		said := ""
		if err := awaitAll(results, len(tt.results)); err != nil {
			said = err.Error()
			if !errors.Is(err, gone) {
				t.Errorf("%q does not wrap the first error", said)
			}
		}
		if said != tt.want {
			t.Errorf("%q, want %q", said, tt.want)
		}
	}
}

// A soak that is interrupted says what it has found until then.
func TestInterruptedSoakReports(t *testing.T) {
	dir := t.TempDir()
	program, out := filepath.Join(dir, "bench"), filepath.Join(dir, "run.json")
	if text, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build the bench: %v\n%s", err, text)
	}
	c := exec.Command(program, "soak", "-relay", buildRelay(t), "-all-cores", "-conns", "20", "-movers", "5", "-comings", "5", "-probes", "5",
		"-publishers", "2", "-rate", "100", "-broadcast-rate", "5", "-delay-rate", "0", "-sample", "200ms", "-json", out)
	stderr, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(stderr)
	for said.Scan() {
		if strings.Contains(said.Text(), "push p99") { // a sample
			if err := c.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	rest, _ := io.ReadAll(stderr)
	if err := c.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, rest)
	}
	d, err := readDocument(out)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.accounts) != 1 || d.accounts[0].Delivered == 0 || d.accounts[0].faults() != 0 {
		t.Errorf("accounts: %+v", d.accounts)
	}
	if !slices.ContainsFunc(d.figures, func(f *figure) bool { return f.Name == "push p99, by sample" }) {
		t.Error("no sample is in the report")
	}
}
