package test

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gorelay/internal/relaytest"
	"gorelay/internal/wsclient"
)

// The size of the crash test.
const (
	crashPublishers = 16
	crashShortest   = 200 * time.Millisecond // delay of a push
	crashLongest    = 3 * time.Second
	crashGrace      = 500 * time.Millisecond // missed_grace: enough for the client to come back
	crashPause      = 12 * time.Millisecond  // longest pause between two pushes of a publisher
)

// crashRounds is how many times the relay is killed.
func crashRounds() int {
	if testing.Short() {
		return 6
	}
	return 30
}

// life is one run of the relay, from a start to a kill.
type life struct {
	proc     *relaytest.Process
	addr     string
	launched time.Time // before its process was there

	over chan struct{} // closed when next is there
	next *life         // read after over; nil after the last
}

// crashRun is one run of the crash test.
type crashRun struct {
	t      *testing.T
	binary string
	dir    string
	ledger *crashLedger
	stop   chan struct{} // closed when the publishers are to end
}

// start starts the relay on the folder. The process ends with the test.
func (c *crashRun) start() *life {
	c.t.Helper()
	l := &life{launched: time.Now(), over: make(chan struct{})}
	l.proc = relaytest.Run(c.t, relaytest.Command{File: c.binary, Dir: c.dir})
	l.proc.Secret(relaytest.Key)
	l.proc.WaitLog("Push API path")
	_, rest, _ := strings.Cut(l.proc.Log(), "http://localhost:")
	port, _, _ := strings.Cut(rest, "\n")
	l.addr = "127.0.0.1:" + port
	return l
}

// publish pushes delayed messages, from one life of the relay to the next, to
// the end.
func (c *crashRun) publish(id int, l *life) error {
	random := rand.New(rand.NewPCG(uint64(id), 1))
	pub := &relaytest.Publisher{Addr: l.addr, Key: relaytest.Key}
	defer func() { pub.Close() }()
	for n := 0; ; n++ {
		select {
		case <-c.stop:
			return nil
		case <-time.After(time.Duration(random.Int64N(int64(crashPause)))): // the load, not a wait for anything
		}
		event := fmt.Sprintf("%d/%d", id, n)
		due := time.Now().Add(crashShortest + time.Duration(random.Int64N(int64(crashLongest-crashShortest)))).UnixMilli()
		who := []string{`"token":"crash"`, `"tokens":["nobody","crash"]`, `"token":null`}[random.IntN(3)]
		text := fmt.Sprintf(`{"event_name":"%s","subject":{"fill":"%s"},"deliver_at":%d,%s}`, event, repeat("f", random.IntN(300)), due, who)
		answer, err := pub.Push([]byte(text))
		switch {
		case err != nil: // the relay is gone, and with it the answer
			c.ledger.unanswered(event, due)
			pub.Close()
			<-l.over
			if l = l.next; l == nil {
				return fmt.Errorf("no answer from a relay that runs: %w", err)
			}
			pub.Addr = l.addr
		case answer.Status != 200:
			return fmt.Errorf("push: %d %s", answer.Status, answer.Body)
		default:
			c.ledger.accept(event, due)
		}
	}
}

// listen is the client: it is there as soon as the relay is. It reads to the
// end of the relay, and reports how long after the launch it was connected.
func (c *crashRun) listen(l *life) (arrived time.Duration, ended chan error) {
	c.t.Helper()
	conn, err := wsclient.Dialer{Addr: l.addr}.Dial("/ws?token=crash")
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	settle(c.t, conn)
	arrived = time.Since(l.launched)
	ended = make(chan error, 1)
	go func() { // ends with the relay, or with the connection's timeout; the caller takes what it sends
		for {
			_, raw, err := conn.ReadMessage()
			if err != nil {
				conn.Close()
				ended <- nil
				return
			}
			if err := c.ledger.arrive(raw); err != nil {
				conn.Close()
				ended <- err
				return
			}
		}
	}()
	return arrived, ended
}

// TestCrash kills the relay again and again under a load of delayed pushes.
// None that was accepted is lost, and only those that fired shortly before a
// kill may come twice (commitWindow, lateWindow).
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	c := &crashRun{t: t, binary: filepath.Join(dir, "relay"), dir: dir, ledger: newCrashLedger(), stop: make(chan struct{})}
	// Without the race detector, even if the test has it: it is a load.
	if out, err := exec.Command("go", "build", "-o", c.binary, "gorelay/cmd/relay").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	writeConfig(t, dir, relaytest.Config{
		"port": "0", "api_key": relaytest.Key, "missed_grace": crashGrace.String(), "missed_rate": 1_000_000, "max_pending_bytes": 64 << 20,
	})
	random := rand.New(rand.NewPCG(2, 2))
	l := c.start()
	_, ended := c.listen(l)
	errs := make(chan error, crashPublishers)
	var publishers sync.WaitGroup
	for id := range crashPublishers {
		publishers.Go(func() { errs <- c.publish(id, l) })
	}
	for n := range crashRounds() {
		// The moment of the kill is the point: any, or in the burst of what was
		// missed, when most has fired and least has gone out.
		moment := time.Now().Add(time.Duration(random.Int64N(int64(1600 * time.Millisecond))))
		if n%2 == 1 {
			moment = l.launched.Add(crashGrace + time.Duration(random.Int64N(int64(100*time.Millisecond))))
		}
		time.Sleep(time.Until(moment))
		k := kill{signal: time.Now().UnixMilli()}
		l.proc.Signal(syscall.SIGKILL)
		l.proc.Wait()
		k.dead = time.Now().UnixMilli()
		c.ledger.kills = append(c.ledger.kills, k)
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		next := c.start()
		var arrived time.Duration
		if arrived, ended = c.listen(next); arrived >= crashGrace || !c.ledger.owes(next.launched.UnixMilli()) {
			// The grace was over before the client was there, or nothing was
			// missed and there was none: what fell due by now may have found nobody.
			c.ledger.excuse(time.Now().UnixMilli())
		}
		l.next = next
		close(l.over)
		l = next
	}
	close(c.stop)
	publishers.Wait()
	close(l.over)
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	if err := relaytest.WaitFor(c.ledger.complete); err != nil {
		t.Logf("not all has come: %v", err) // judge says what
	}
	pub := &relaytest.Publisher{Addr: l.addr, Key: relaytest.Key}
	// A push that was stored and not answered may be the last to be due.
	if err := relaytest.WaitFor(func() bool { return len(list(t, pub, "", 1000)) == 0 }); err != nil {
		t.Errorf("%d pushes still wait: %v", len(list(t, pub, "", 1000)), err)
	}
	pub.Close()
	if code := l.proc.Stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	c.ledger.judge(t)
}
