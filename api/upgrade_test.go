package api

import (
	"net"
	"testing"

	"gorelay/internal/wsclient"
)

// A proxy that keeps connections sends a handshake on one that has carried
// pushes. The frames that come in the same segment must not get lost.
func TestHandshakeOnAUsedConnection(t *testing.T) {
	_, dialer := startOnEngine(t)
	const health = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
	ping := wsclient.Text(`{"type":"ping","ts":1}`).Bytes()
	for _, test := range []struct {
		name  string
		parts [][]byte // sent one by one, an answer awaited after each
	}{
		{"after its answer", [][]byte{[]byte(health), append(wsclient.Handshake("/ws?token=a", "x"), ping...)}},
		{"behind two requests", [][]byte{[]byte(health), []byte(health), append(wsclient.Handshake("/ws", "x"), ping...)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := dialer.DialRaw(test.parts[0])
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			for i, part := range test.parts {
				if i > 0 {
					if err := c.Send(part); err != nil {
						t.Fatal(err)
					}
				}
				want := 200
				if i == len(test.parts)-1 {
					want = 101
				}
				if a, err := c.ReadResponse(); err != nil || a.Status != want {
					t.Fatalf("part %d: %+v %v, want %d", i, a, err, want)
				}
			}
			if f, err := c.ReadFrame(); err != nil || string(f.Payload) != `{"type":"pong","ts":1}` {
				t.Fatalf("got %q %v, want the pong", f.Payload, err)
			}
		})
	}
}

// What is refused on a fresh connection is refused on a used one alike.
func TestBadHandshakeOnAUsedConnection(t *testing.T) {
	_, dialer := startOnEngine(t)
	c, err := dialer.DialRaw([]byte("GET /health HTTP/1.1\r\nHost: x\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if a, err := c.ReadResponse(); err != nil || a.Status != 200 {
		t.Fatalf("health: %+v %v", a, err)
	}
	if err := c.Send([]byte("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if a, err := c.ReadResponse(); err != nil || a.Status != 400 {
		t.Fatalf("%+v %v, want 400", a, err)
	}
}

// Without an engine behind it there is no WebSocket path.
func TestHandshakeWithoutAnAdopter(t *testing.T) {
	r := startRelay(t, plainly)
	r.dial(t).write("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n").wantRefusal(404, "not found")
}

// onlyConn hides everything but net.Conn.
type onlyConn struct{ net.Conn }

func TestAdoptTakesOnlyItsOwn(t *testing.T) {
	e, _ := startEngine(t, DefaultOptions())
	mine, theirs := net.Pipe()
	defer theirs.Close()
	if err := e.Adopt(onlyConn{mine}, nil); err == nil {
		t.Fatal("took a connection that is not the engine's")
	}
}

// What only one of the two readers of a head takes for a handshake is refused, and
// not passed between them for ever.
func TestHandshakeThatIsNone(t *testing.T) {
	_, dialer := startOnEngine(t)
	for _, line := range []string{"!GET /ws HTTP/1.1", "1GET /ws HTTP/1.1", "~ /ws HTTP/1.1"} {
		c, err := dialer.DialRaw([]byte(line + "\r\nHost: x\r\n\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		if a, err := c.ReadResponse(); err != nil || a.Status != 400 {
			t.Errorf("%s: %+v %v, want 400", line, a, err)
		}
		_ = c.Close()
	}
}
