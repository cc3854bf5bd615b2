package test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"gorelay/internal/relaytest"
	"gorelay/internal/wsclient"
)

// rssSlack is what a relay's memory may grow by while it is lied to, in bytes.
// The race detector keeps shadow memory of its own.
func rssSlack() int64 {
	if relaytest.Race {
		return 256 << 20
	}
	return 48 << 20
}

func TestGarbageOnThePort(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	before := idleDescriptors(t, r)
	rng := rand.New(rand.NewPCG(6455, 1))
	random := make([]byte, 20<<10)
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	for name, raw := range map[string][]byte{
		"nothing":         nil,
		"zeros":           make([]byte, 20<<10),
		"random":          random,
		"newlines":        []byte(repeat("\r\n", 10<<10)),
		"TLS hello":       []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + string(random[:512])),
		"HTTP/2 preface":  []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
		"frame at once":   wsclient.Text("hello").Bytes(),
		"spaces":          []byte(repeat(" ", 20<<10)),
		"negative length": []byte("POST /api/push HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"),
		"huge length":     []byte("POST /api/push HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n"),
		"bad chunk":       []byte("POST /api/push HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := wsclient.Dialer{Addr: r.Addr}.DialRaw(nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.Send(raw) // the relay may close before it has read all
			_ = c.CloseWrite()
			if err := c.Discard(); err != nil {
				t.Errorf("the connection stays open: %v", err)
			}
		})
	}
	wantHealthy(t, r)
	r.WaitDescriptors(before)
}

// TestGarbageFrames sends random bytes where frames should be.
func TestGarbageFrames(t *testing.T) {
	const rounds = 200
	r := relaytest.StartRelay(t, relaytest.Setup{})
	before := idleDescriptors(t, r)
	rng := rand.New(rand.NewPCG(6455, 2))
	for range rounds {
		c := r.Dial(t, "/ws?token=g")
		raw := make([]byte, 1+rng.IntN(300))
		for i := range raw {
			raw[i] = byte(rng.Uint32())
		}
		if rng.IntN(2) == 0 {
			raw[0] = 0x81 // a plausible start goes deeper
		}
		_ = c.Send(raw)
		_ = c.CloseWrite()
		if err := c.Discard(); err != nil {
			t.Errorf("% x: %v", raw, err)
		}
		c.Close()
	}
	wantHealthy(t, r)
	r.WaitDescriptors(before)
}

// TestDeclaredSizesCostNothing: many peers that announce exabytes, or the
// largest legal message, and send nothing of it.
func TestDeclaredSizesCostNothing(t *testing.T) {
	const peers, legal = 200, 8 << 20
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"max_message_bytes": legal}})
	wantHealthy(t, r)
	before := r.RSS()
	var conns []*wsclient.Conn
	for i := range peers {
		c := r.Dial(t, "/ws")
		f := wsclient.Frame{Fin: true, Op: wsclient.OpText, Masked: true, Form: wsclient.Form64, Payload: []byte("begin")}
		f.Declared = []uint64{1<<63 - 1, 1<<64 - 1, legal, legal}[i%4]
		if err := c.SendFrames(f); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	if err := wsclient.WaitTaken(conns...); err != nil {
		t.Fatal(err)
	}
	if grown := r.RSS() - before; grown > rssSlack() {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	for i, c := range conns {
		if i%4 < 2 {
			wantClose(t, c, 1002, 1009)
		}
	}
	wantHealthy(t, r)
}

// TestDeepJSON: nesting that would exhaust a stack is refused or ignored.
func TestDeepJSON(t *testing.T) {
	const deep = 100_000
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"max_message_bytes": 1 << 20}})
	p := r.Publisher(t)
	c := r.Dial(t, "/ws")
	settle(t, c)
	for name, value := range map[string]string{
		"arrays":        repeat("[", deep) + repeat("]", deep),
		"objects":       repeat(`{"a":`, deep) + "1" + repeat("}", deep),
		"never closed":  repeat("[", deep),
		"objects begun": repeat(`{"a":`, deep),
	} {
		for _, field := range []string{"subject", "token", "other"} {
			t.Run(name+" as "+field, func(t *testing.T) {
				body := `{"event_name":"deep","` + field + `":` + value + `}`
				if field != "subject" {
					body = `{"event_name":"deep","subject":1,"` + field + `":` + value + `}`
				}
				answer := post(t, p, body)
				switch answer.Status {
				case 400:
				case 200:
					wantEvent(t, c, "deep")
				default:
					t.Errorf("status %d", answer.Status)
				}
			})
		}
		t.Run(name+" from a client", func(t *testing.T) {
			for _, message := range []string{value, `{"event":"identify","data":{"token":` + value + `}}`, `{"type":"ping","ts":` + value + `}`} {
				if err := c.SendText(message); err != nil {
					t.Fatal(err)
				}
			}
			push(t, p, `{"event_name":"still","subject":1}`)
			for { // a pong with a strange ts may come first
				e, _ := readEnvelope(t, c)
				if e.Event == "still" {
					break
				}
			}
		})
	}
	wantHealthy(t, r)
}

// TestLongToken: a token of a million characters is a token like others, or
// refused; in either case nothing breaks and nothing of it is logged.
func TestLongToken(t *testing.T) {
	const long = 1_000_000
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"max_message_bytes": 2 << 20, "max_push_bytes": 2 << 20, "max_pending_bytes": 8 << 20}})
	r.Secret(repeat("L", 64), repeat("9", 64))
	p := r.Publisher(t)
	for _, token := range []string{quote(repeat("L", long)), repeat("9", long), `{"id":` + quote(repeat("L", long)) + `}`, "1e1000000", "1e-1000000", "1e999999999999999999999", "1" + repeat("0", 400_000) + "e400000"} {
		t.Run(fmt.Sprintf("%.12s", token), func(t *testing.T) {
			c := r.Dial(t, "/ws")
			defer c.Close()
			identify(t, c, token)
			answer := post(t, p, `{"event_name":"long","subject":1,"token":`+token+`}`)
			if answer.Status != 200 && answer.Status != 400 {
				t.Errorf("status %d", answer.Status)
			}
			if answer.Status == 200 && !bytes.Contains(answer.Body, []byte(`"broadcast":false`)) {
				t.Error("what was meant for one user went to everyone")
			}
			push(t, p, `{"event_name":"last","subject":1}`)
			e, _ := readEnvelope(t, c)
			if e.Event == "long" {
				if answer.Status != 200 || string(e.Data.Token) != token {
					t.Errorf("status %d, token of %d bytes", answer.Status, len(e.Data.Token))
				}
				e, _ = readEnvelope(t, c)
			}
			if e.Event != "last" {
				t.Errorf("event %q", e.Event)
			}
		})
	}
	c, err := wsclient.Dialer{Addr: r.Addr}.DialRaw(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.Send(wsclient.Handshake("/ws?token="+repeat("L", long), r.Addr))
	if answer, err := c.ReadResponse(); err != nil || answer.Status < 400 || answer.Status > 499 {
		t.Errorf("a query of a million: %+v %v", answer, err)
	}
	wantHealthy(t, r)
}
