package api

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gorelay/engine"
)

// patience is how long a test waits for what must happen before it fails.
const patience = 20 * time.Second

const testKey = "test-key"

// TestMain fails the package if a goroutine of a server outlives the tests.
// Two of fasthttp's may stay: the clock of the Date header for good, and for ten
// seconds the one that clears idle workers.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := leftGoroutines(); code == 0 && left != "" {
		fmt.Fprintln(os.Stderr, "goroutines left:\n"+left)
		code = 1
	}
	os.Exit(code)
}

func leftGoroutines() string {
	var left string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		left = ""
		buf := make([]byte, 1<<20)
		for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			own := strings.Contains(stack, "gorelay/api.") || strings.Contains(stack, "fasthttp.(*")
			stays := strings.Contains(stack, "fasthttp.(*workerPool).Start.")
			if own && !stays && !strings.Contains(stack, "TestMain") {
				left += stack + "\n\n"
			}
		}
		if left == "" {
			break
		}
	}
	return left
}

// call is one delivery that a server made.
type call struct {
	kind    string // "send", "multicast", "broadcast" or "schedule"
	user    string // all of them, with commas between
	payload string
	stamp   int
	in      time.Duration // until due, from when the call came
}

// recorder is a Pusher that keeps what it gets.
type recorder struct {
	enter chan struct{} // if not nil: gets a value when a call comes …
	leave chan struct{} // … and must give one before it returns
	err   error         // returned by every call
	full  error         // returned by Send to the token "full"
	disk  error         // returned by Schedule and Cancel
	panic any           // thrown by every call
	plain bool          // see plainly

	t        testing.TB
	keys     atomic.Uint64
	mu       sync.Mutex
	calls    []call
	receipts [][]byte // of Schedule, nil where there was none
}

func (r *recorder) record(c call, f engine.Frame) {
	if r.enter != nil {
		r.enter <- struct{}{}
		<-r.leave
	}
	if r.panic != nil {
		panic(r.panic)
	}
	if r.err != nil {
		return
	}
	c.payload = string(payloadOf(r.t, f))
	r.mu.Lock()
	r.calls = append(r.calls, c)
	r.mu.Unlock()
}

func (r *recorder) Send(token string, f engine.Frame) (int, error) {
	if token == "full" && r.full != nil {
		return 0, r.full
	}
	r.record(call{kind: "send", user: token}, f)
	return 3, r.err
}

func (r *recorder) Broadcast(f engine.Frame) (int, error) {
	r.record(call{kind: "broadcast"}, f)
	return 7, r.err
}

func (r *recorder) Multicast(tokens []string, f engine.Frame) (int, error) {
	r.record(call{kind: "multicast", user: strings.Join(tokens, ",")}, f)
	return 5, r.err
}

func (r *recorder) Schedule(batch []engine.Delayed, receipt []byte) error {
	if r.disk != nil {
		return r.disk
	}
	for _, d := range batch {
		r.record(call{kind: "schedule", user: strings.Join(d.Tokens, ","), stamp: d.Stamp, in: time.Until(d.Due)}, d.Frame)
	}
	if r.err != nil {
		return r.err
	}
	r.mu.Lock()
	r.receipts = append(r.receipts, bytes.Clone(receipt))
	r.mu.Unlock()
	return nil
}

func (r *recorder) NewKey() uint64                        { return r.keys.Add(1) }
func (r *recorder) Cancel(uint64) error                   { return cmp.Or(r.err, r.disk, engine.ErrNotWaiting) }
func (r *recorder) Cancelled(uint64) (bool, error)        { return false, nil }
func (r *recorder) Online(string) int                     { return 0 }
func (r *recorder) Disconnect(string, uint16, string) int { return 0 }

func (r *recorder) Waiting(uint64) (engine.Delayed, error) {
	return engine.Delayed{}, cmp.Or(r.err, engine.ErrNotWaiting)
}

func (r *recorder) ListWaiting(string, engine.Place, int) ([]engine.Delayed, engine.Place, error) {
	return nil, engine.Place{}, r.err
}

// take returns the deliveries so far and forgets them.
func (r *recorder) take() []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	return calls
}

// relay is a running server in front of a recorder.
type relay struct {
	*Server
	addr     string
	recorder *recorder
	log      *syncBuffer
}

// startRelay starts a server that set may have changed the options of. It is
// shut down with the test.
func startRelay(t *testing.T, set ...func(*Options, *recorder)) *relay {
	t.Helper()
	log := &syncBuffer{}
	o := DefaultOptions()
	o.APIKey = testKey
	o.MaxDelay = testMaxDelay
	o.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	rec := &recorder{t: t}
	for _, f := range set {
		f(&o, rec)
	}
	ln := listen(t, o, rec)
	r := &relay{Server: NewServer(o, rec), addr: ln.Addr().String(), recorder: rec, log: log}
	served := r.serve(t, ln)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil && err != ErrClosed {
			t.Errorf("Serve: %v", err)
		}
		if strings.Contains(log.String(), testKey) {
			t.Error("the log holds the key")
		}
	})
	return r
}

// serve lets r serve ln, and returns when the loops answer pushes: what comes
// before that is the HTTP server's.
func (r *relay) serve(t *testing.T, ln net.Listener) (served <-chan error) {
	t.Helper()
	result := make(chan error, 1)
	go func() { result <- r.Serve(ln) }()
	for end := time.Now().Add(patience); !r.serves(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not begin to serve")
		}
	}
	return result
}

// serves reports whether Serve has begun.
func (r *relay) serves() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.listeners) > 0
}

// listen opens the port of a relay: an engine's, which answers what it can in
// place, or a plain one.
func listen(t *testing.T, o Options, rec *recorder) net.Listener {
	t.Helper()
	if !rec.plain {
		e, _ := startEngine(t, o)
		return e.HTTP()
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// plainly makes a relay of which fasthttp sees everything, and whose recorder
// may block.
func plainly(_ *Options, rec *recorder) { rec.plain = true }

// publisher is one connection to a relay.
type publisher struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func (r *relay) dial(t testing.TB) *publisher {
	t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &publisher{t: t, Conn: c, r: bufio.NewReader(c)}
}

// tryDial opens a connection and sends text, if the server still takes it.
func (r *relay) tryDial(t testing.TB, text string) {
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		return
	}
	t.Cleanup(func() { c.Close() })
	_, _ = c.Write([]byte(text))
}

// deadlineConn keeps the read deadline it is given.
type deadlineConn struct {
	net.Conn
	read time.Time
}

func (c *deadlineConn) SetReadDeadline(t time.Time) error {
	c.read = t
	return nil
}

// write sends bytes as they are. What the relay has refused already may not
// take them all.
func (p *publisher) write(format string, args ...any) *publisher {
	fmt.Fprintf(p, format, args...)
	return p
}

// post sends a push with the key.
func (p *publisher) post(body string) *publisher {
	return p.write("POST /api/push HTTP/1.1\r\nHost: x\r\nX-API-KEY: %s\r\nContent-Length: %d\r\n\r\n%s", testKey, len(body), body)
}

// answer is an HTTP answer with its body.
type answer struct {
	*http.Response
	body string
}

// read reads the answer to a request with this method.
func (p *publisher) read(method string) answer {
	p.t.Helper()
	resp, err := http.ReadResponse(p.r, &http.Request{Method: method})
	if err != nil {
		p.t.Fatalf("read answer: %v", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatalf("read body: %v", err)
	}
	if got := resp.Header.Get("Content-Type"); got != "application/json" {
		p.t.Errorf("Content-Type %q", got)
	}
	if got := resp.Header.Get("Server"); got != "" {
		p.t.Errorf("Server %q", got)
	}
	return answer{resp, string(body)}
}

// changing are the parts of an answer to a push that are different each time.
var changing = regexp.MustCompile(`,"id":"[0-9a-f-]{36}"|,"deliver_at":[0-9]{13}`)

// wantAnswer reads an answer and checks its status and whole body, but for what
// changes each time.
func (p *publisher) wantAnswer(status int, body string) answer {
	p.t.Helper()
	a := p.read("POST")
	if a.StatusCode != status || changing.ReplaceAllString(a.body, "") != body {
		p.t.Fatalf("got %d %.300s, want %d %.300s", a.StatusCode, a.body, status, body)
	}
	return a
}

// wantRefusal reads a refusal whose message holds text.
func (p *publisher) wantRefusal(status int, text string) answer {
	p.t.Helper()
	a := p.read("POST")
	var got struct {
		Code int
		Msg  string
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		p.t.Fatalf("%d %.300s: %v", a.StatusCode, a.body, err)
	}
	if a.StatusCode != status || got.Code != -1 || !strings.Contains(got.Msg, text) {
		p.t.Fatalf("got %d %.300s, want %d with %q", a.StatusCode, a.body, status, text)
	}
	return a
}

// wantStatus reads an answer of which only the status matters.
func (p *publisher) wantStatus(status int) {
	p.t.Helper()
	if a := p.read("POST"); a.StatusCode != status {
		p.t.Fatalf("got %d %.300s, want %d", a.StatusCode, a.body, status)
	}
}

// wantEnd checks that the relay sends nothing more and ends the connection.
func (p *publisher) wantEnd() {
	p.t.Helper()
	if b, err := p.r.ReadByte(); err == nil {
		p.t.Fatalf("got byte %q, want the end", b)
	} else if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		p.t.Fatal("the connection stays open")
	}
}

// syncBuffer is a log that a test can read while it is written.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
