package engine

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"gorelay/internal/wsclient"
)

// patience bounds every wait of these tests. It only ends what would hang.
const patience = 20 * time.Second

// TestMain makes the Go runtime open its own descriptors first, so that the
// leak check of each engine sees only the engine's.
func TestMain(m *testing.M) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		_ = l.Close()
	}
	os.Exit(m.Run())
}

// scripted is a Handler that does what its functions say; a nil one is the
// obvious default: claim "/ws", start under the query's token, ignore messages.
type scripted struct {
	claims  func(target []byte) bool
	open    func(r *Request) (string, error)
	message func(c *Conn, op ws.OpCode, payload []byte)
}

func (h scripted) Claims(target []byte) bool {
	if h.claims != nil {
		return h.claims(target)
	}
	path, _, _ := bytes.Cut(target, []byte{'?'})
	return string(path) == "/ws"
}

func (h scripted) Open(r *Request) (string, error) {
	if h.open != nil {
		return h.open(r)
	}
	_, token, _ := strings.Cut(string(r.Target), "token=")
	return token, nil
}

func (h scripted) Message(c *Conn, op ws.OpCode, payload []byte) {
	if h.message != nil {
		h.message(c, op, payload)
	}
}

// identifying is a scripted whose clients say "token" to identify and "=text"
// to be answered "text".
func identifying() scripted {
	return scripted{message: func(c *Conn, op ws.OpCode, p []byte) {
		if len(p) > 0 && p[0] == '=' {
			c.Reply(op, p[1:])
			return
		}
		c.Identify(string(p))
	}}
}

// server is an engine under test.
type server struct {
	*Engine
	t    testing.TB
	addr string
	down bool
}

// serve starts an engine on a free port of the loopback. At the end of the
// test it is shut down, and then nothing of it may be left: no descriptor, no
// goroutine, no waiting byte.
func serve(t testing.TB, h Handler, change func(*Options)) *server {
	t.Helper()
	s := listen(t, h, change)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// listen is serve without Start.
func listen(t testing.TB, h Handler, change func(*Options)) *server {
	t.Helper()
	o := DefaultOptions()
	o.Addr, o.Loops, o.Shards = "127.0.0.1:0", 2, 5
	if change != nil {
		change(&o)
	}
	before := openFiles(t)
	e, err := Listen(o, h)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Engine: e, t: t, addr: e.Addr().String()}
	t.Cleanup(func() {
		s.stop()
		s.wantNothingLeft(before)
	})
	return s
}

// stop shuts the engine down once.
func (s *server) stop() {
	s.t.Helper()
	if s.down {
		return
	}
	s.down = true
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		s.t.Errorf("shutdown: %v", err)
	}
}

// wantNothingLeft is the account of a stopped engine.
func (s *server) wantNothingLeft(before map[string]string) {
	s.t.Helper()
	if st := s.Stats(); st.Open != 0 || st.WaitingBytes != 0 {
		s.t.Errorf("after the stop %d connections are open and %d bytes wait", st.Open, st.WaitingBytes)
	}
	if n := s.http.Open(); n != 0 {
		s.t.Errorf("after the stop %d connections of HTTP are counted", n)
	}
	if held := s.partial.Load(); held != 0 {
		s.t.Errorf("after the stop %d bytes of incomplete messages are counted", held)
	}
	for i, l := range s.loops {
		if len(l.https) != 0 || l.unfinished != 0 || l.idle != nil {
			s.t.Errorf("loop %d is left with %d connections of HTTP, %d unfinished", i, len(l.https), l.unfinished)
		}
		if l.live != 0 || l.pending != 0 || l.stalls.len() != 0 || len(l.heads) != 0 {
			s.t.Errorf("loop %d is left with %d descriptors, %d handshakes, %d stalled, %d heads",
				i, l.live, l.pending, l.stalls.len(), len(l.heads))
		}
	}
	for i, sh := range s.shards {
		if len(sh.conns) != 0 || sh.used != 0 {
			s.t.Errorf("shard %d is left with %d connections, %d tokens", i, len(sh.conns), sh.used)
		}
	}
	var leaked string
	if !soon(func() bool {
		leaked = ""
		for fd, name := range openFiles(s.t) {
			if before[fd] == "" {
				leaked += " " + fd + "=" + name
			}
		}
		return leaked == ""
	}) {
		s.t.Errorf("leaked descriptors:%s", leaked)
	}
	if !soon(func() bool { return engineGoroutines() == "" }) {
		s.t.Errorf("leaked goroutines:\n%s", engineGoroutines())
	}
}

// openFiles lists this process's descriptors and what they are.
func openFiles(t testing.TB) map[string]string {
	t.Helper()
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for _, e := range entries {
		// The descriptor of the listing itself is gone by now.
		if name, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			files[e.Name()] = name
		}
	}
	return files
}

// engineGoroutines returns the stacks of what the engine and its epolls run.
func engineGoroutines() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var ours []string
	for _, g := range strings.Split(string(buf), "\n\n") {
		for _, by := range []string{"created by gorelay/engine.(*", "created by github.com/mailru/easygo"} {
			if strings.Contains(g, by) {
				ours = append(ours, g)
			}
		}
	}
	return strings.Join(ours, "\n\n")
}

// soon waits for a condition. It reports whether it came true.
func soon(cond func() bool) bool {
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if cond() {
			return true
		}
		if time.Now().After(end) {
			return cond()
		}
	}
}

// await is soon that fails the test.
func await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	if !soon(cond) {
		t.Fatalf("never came true: %s", what)
	}
}

// onLoop calls f on a loop's goroutine and waits for it.
func onLoop(l *loop, f func()) {
	done := make(chan struct{})
	l.run(func() { f(); close(done) })
	<-done
}

// pendingHandshakes asks the loops.
func (s *server) pendingHandshakes() (n int) {
	for _, l := range s.loops {
		onLoop(l, func() { n += l.pending })
	}
	return n
}

// dial opens a WebSocket to s under token.
func (s *server) dial(token string) *wsclient.Conn {
	s.t.Helper()
	return s.dialWith(wsclient.Dialer{}, token)
}

func (s *server) dialWith(d wsclient.Dialer, token string) *wsclient.Conn {
	s.t.Helper()
	d.Addr = s.addr
	target := "/ws"
	if token != "" {
		target += "?token=" + token
	}
	c, err := d.Dial(target)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// dialStalled opens a WebSocket whose receive buffer is small, so that it
// fills soon while nobody reads.
func (s *server) dialStalled(token string) *wsclient.Conn {
	s.t.Helper()
	return s.dialWith(wsclient.Dialer{ReadBuffer: 4096}, token)
}

// send delivers text to token and checks how many that were.
func (s *server) send(token, text string, want int) {
	s.t.Helper()
	if n, err := s.Send(token, textFrame(text)); n != want || err != nil {
		s.t.Fatalf("Send(%q) = %d, %v; want %d", token, n, err, want)
	}
}

func (s *server) broadcast(text string, want int) {
	s.t.Helper()
	if n, err := s.Broadcast(textFrame(text)); n != want || err != nil {
		s.t.Fatalf("Broadcast = %d, %v; want %d", n, err, want)
	}
}

// fill pushes to token until its one connection's socket is full.
func (s *server) fill(token string, c *Conn) {
	s.t.Helper()
	big := strings.Repeat("f", 64<<10)
	await(s.t, "the socket is full", func() bool {
		if s.blocked(c) {
			return true
		}
		s.send(token, big, 1)
		return false
	})
}

func (s *server) blocked(c *Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.blocked
}

// conn is the one connection that is open under token.
func (s *server) conn(token string) *Conn {
	s.t.Helper()
	hash := s.hash(token)
	found := s.shards[s.shardIndex(hash)].matching(nil, uint32(hash), token)
	if len(found) != 1 {
		s.t.Fatalf("%d connections under %q, not 1", len(found), token)
	}
	return found[0]
}

// textFrame encodes a text message.
func textFrame(text string) Frame {
	return TextFrame(append(make([]byte, FrameHeadroom), text...))
}

// wantText reads the next message and compares it.
func wantText(t testing.TB, c *wsclient.Conn, want string) {
	t.Helper()
	_, p, err := c.ReadMessage()
	if err != nil {
		t.Fatalf("instead of %.40q: %v", want, err)
	}
	if string(p) != want {
		t.Fatalf("message %.60q, want %.60q", p, want)
	}
}

// wantClose reads up to the close frame and compares its code.
func wantClose(t testing.TB, c *wsclient.Conn, code int) {
	t.Helper()
	for {
		_, _, err := c.ReadMessage()
		if err == nil {
			continue
		}
		ce, ok := err.(*wsclient.CloseError)
		if !ok || ce.Code != code {
			t.Fatalf("ended with %v, want close %d", err, code)
		}
		return
	}
}

// plainMask leaves a payload as it is, so that one frame can be read again.
func plainMask(f wsclient.Frame) []byte {
	f.Mask = [4]byte{}
	return f.Bytes()
}
