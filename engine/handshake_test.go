package engine

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"gorelay/internal/wsclient"
)

// answerTo sends a head and returns the answer's status line.
func (s *server) answerTo(head string) *wsclient.Response {
	s.t.Helper()
	c, err := wsclient.Dialer{Addr: s.addr}.DialRaw([]byte(head))
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	r, err := c.ReadResponse()
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func TestHandshakeAnswers(t *testing.T) {
	s := serve(t, scripted{open: func(r *Request) (string, error) {
		switch string(r.Origin) {
		case "https://evil.example":
			return "", &Refusal{403, "origin not allowed"}
		case "https://broken.example":
			return "", errors.New("out of order")
		}
		return "", nil
	}}, nil)
	change := func(old, new string) string { return strings.Replace(goodHead, old, new, 1) }
	for _, tt := range []struct {
		name, head string
		status     int
	}{
		{"good", goodHead, 101},
		{"a list in Connection", change("Connection: Upgrade", "Connection: keep-alive, Upgrade"), 101},
		{"two lines of Connection", change("Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade"), 101},
		{"the other way round", change("Connection: Upgrade", "Connection: upgrade\r\nConnection: keep-alive"), 101},
		{"tabs in Connection", change("Connection: Upgrade", "Connection: keep-alive\t,\tUpgrade"), 101},
		{"a list of upgrades", change("Upgrade: websocket", "Upgrade: h2c, WebSocket"), 101},
		{"two upgrades", change("Upgrade: websocket", "Upgrade: websocket\r\nUpgrade: h2c"), 101},
		{"a list with nothing in it", change("Connection: Upgrade", "Connection: ,,Upgrade,"), 101},
		{"the longest head, in lists", paddedHead(maxHead), 101},
		{"a list without the upgrade", change("Connection: Upgrade", "Connection: keep-alive, Upgrades"), 400},
		{"lists without the upgrade", change("Upgrade: websocket", "Upgrade: h2c\r\nUpgrade: websockets"), 400},
		{"POST", change("GET", "POST"), 405},
		{"HTTP/1.0", change("HTTP/1.1", "HTTP/1.0"), 400},
		{"no host", change("Host: h\r\n", ""), 400},
		{"no upgrade", change("Upgrade: websocket\r\n", ""), 400},
		{"another upgrade", change("Upgrade: websocket", "Upgrade: h2c"), 400},
		{"another version", change("Version: 13", "Version: 12"), 426},
		{"no key", change("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400},
		{"bad key", change("dGhl", "dGh"), 400},
		{"refused origin", change("Host: h\r\n", "Host: h\r\nOrigin: https://evil.example\r\n"), 403},
		{"failing handler", change("Host: h\r\n", "Host: h\r\nOrigin: https://broken.example\r\n"), 500},
		{"head too long", longHead(maxHead + 1), 431},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if r := s.answerTo(tt.head); r.Status != tt.status {
				t.Errorf("%d %q, want %d", r.Status, r.Body, tt.status)
			}
		})
	}
	await(t, "no handshake is under way", func() bool { return s.pendingHandshakes() == 0 && s.descriptors() == 0 })
}

// The head in pieces, and frames right behind it in its segment.
func TestHandshakeInPieces(t *testing.T) {
	s := serve(t, scripted{message: func(c *Conn, op ws.OpCode, p []byte) { c.Reply(op, p) }}, nil)
	stream := append(wsclient.Handshake("/ws?token=a", s.addr), wsclient.Join(wsclient.Text("one"), wsclient.Text("two"))...)
	for _, cut := range []int{0, 1, 10, 40, len(stream) - 12, len(stream) - 1} {
		c, err := wsclient.Dialer{Addr: s.addr}.DialRaw(stream[:cut])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := wsclient.WaitTaken(c); err != nil {
			t.Fatal(err)
		}
		if err := c.Send(stream[cut:]); err != nil {
			t.Fatal(err)
		}
		if r, err := c.ReadResponse(); err != nil || r.Status != 101 {
			t.Fatalf("cut at %d: %v, %v", cut, r, err)
		}
		wantText(t, c, "one")
		wantText(t, c, "two")
	}
}

// wantHangUp waits for the server to end a raw connection.
func wantHangUp(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := io.ReadAll(c)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Fatal("still connected")
	}
}

func TestHandshakeDeadline(t *testing.T) {
	s := serve(t, scripted{}, func(o *Options) { o.HandshakeTimeout = 50 * time.Millisecond })
	silent, half := s.connect(0), s.connect(0)
	s.write(half, []byte("GET /ws HTTP/1.1\r\nHost:"))
	wantHangUp(t, silent)
	wantHangUp(t, half)
	if n := s.Stats().Closed["handshake_timeout"]; n != 2 {
		t.Errorf("%d timeouts", n)
	}
}

// Past MaxHandshakes the oldest makes room, and only the oldest.
func TestTooManyHandshakesDropTheOldest(t *testing.T) {
	s := serve(t, scripted{}, func(o *Options) { o.MaxHandshakes, o.Loops = 3, 1 })
	var slow []net.Conn
	const begun = 10 // bytes of a head
	for i := range 4 {
		slow = append(slow, s.connect(0))
		s.write(slow[i], []byte(goodHead[:begun]))
		await(t, "accepted", func() bool { return s.Stats().Accepted == int64(i+1) })
	}
	wantHangUp(t, slow[0])
	for _, c := range slow[1:] {
		s.write(c, []byte(goodHead[begun:]))
		if p := make([]byte, 12); true {
			if _, err := io.ReadFull(c, p); err != nil || string(p) != "HTTP/1.1 101" {
				t.Errorf("%q, %v", p, err)
			}
		}
	}
	if n := s.Stats().Closed["handshake_dropped"]; n != 1 {
		t.Errorf("%d dropped", n)
	}
}

// When everybody comes back at once, more handshakes are under way than usual:
// only those that take their time make room.
func TestHandshakesMakeRoomOnlyWhenSlow(t *testing.T) {
	e := withoutSockets(1)
	e.opts.MaxHandshakes, e.opts.HandshakeTimeout = 2, 5*time.Second
	l := e.loops[0]
	var all []*Conn
	for i := range 5 { // begun at 0, 100 ... 400 ms
		c := &Conn{loop: l}
		all = append(all, c)
		l.pending++
		l.handshakes.push(timed{c, 5000 + int64(i)*100})
	}
	for _, step := range []struct {
		now     int64
		dropped int
	}{{999, 0}, {1000, 1}, {1150, 2}, {1199, 2}, {9999, 3}} {
		l.makeRoom(step.now)
		for i, c := range all {
			if dropped := c.reason == CloseHandshakeDropped; dropped != (i < step.dropped) {
				t.Errorf("at %d ms: handshake %d dropped: %v", step.now, i, dropped)
			}
		}
	}
}

// A handler that panics at the door must not use up the room for handshakes.
func TestPanicInAHandshake(t *testing.T) {
	s := serve(t, scripted{open: func(r *Request) (string, error) {
		if strings.Contains(string(r.Target), "panic") {
			panic("as asked")
		}
		return "", nil
	}}, func(o *Options) { o.MaxHandshakes, o.Loops = 1, 1 })
	for range 3 {
		if r := s.answerTo(strings.Replace(goodHead, "/ws", "/ws?panic", 1)); r.Status != 500 {
			t.Errorf("status %d", r.Status)
		}
	}
	s.dial("good")
	if n := s.pendingHandshakes(); n != 0 {
		t.Errorf("%d handshakes are counted as under way", n)
	}
	if st := s.Stats(); st.Panics != 3 || st.Closed["handshake_refused"] != 3 {
		t.Errorf("panics %d, closed %v", st.Panics, st.Closed)
	}
}

// A peer that leaves in the middle of its head.
func TestHandshakeAbandoned(t *testing.T) {
	s := serve(t, scripted{}, nil)
	c := s.connect(0)
	s.write(c, []byte("GET /ws HT"))
	_ = c.Close()
	await(t, "counted", func() bool { return s.Stats().Closed["handshake_gone"] == 1 })
	await(t, "free", func() bool { return s.descriptors() == 0 && s.pendingHandshakes() == 0 })
}

// The answer to a HEAD has no body, however long it says that a GET's would be.
func TestRefusedHeadHasNoBody(t *testing.T) {
	s := serve(t, scripted{}, nil)
	c := s.connect(0)
	s.write(c, []byte(strings.Replace(goodHead, "GET", "HEAD", 1)))
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(string(answer), "\r\n\r\n")
	if !strings.HasPrefix(head, "HTTP/1.1 405 ") || body != "" {
		t.Errorf("%q", answer)
	}
}

// Refusals count as sent at once.
func TestRefusalsAreCounted(t *testing.T) {
	s := serve(t, scripted{}, nil)
	const count = 5
	for range count {
		c := s.connect(0)
		s.write(c, []byte("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n"))
		if _, err := io.ReadAll(c); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.Stats().FramesOut; n != count {
		t.Errorf("%d answers counted, want %d", n, count)
	}
}
