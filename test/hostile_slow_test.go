package test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"gorelay/internal/relaytest"
	"gorelay/internal/wsclient"
)

// TestSlowHeadsAreCut opens connections that never finish their request head,
// some silent and some dripping. One absolute deadline ends them all.
func TestSlowHeadsAreCut(t *testing.T) {
	t.Parallel()
	const slow = 60
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"handshake_timeout": "1s"}})
	before := idleDescriptors(t, r)
	wire := wsclient.Handshake("/ws", r.Addr, "X-Drip: "+repeat("d", 4000))
	var conns []*wsclient.Conn
	for i := range slow {
		c, err := wsclient.Dialer{Addr: r.Addr}.DialRaw(wire[:i])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	// One drips a byte whenever the last one is taken: no byte buys it time.
	drips := make(chan error, 1)
	go func() { // ends when the server cuts the connection
		c, err := wsclient.Dialer{Addr: r.Addr}.DialRaw(wire[:1])
		if err != nil {
			drips <- err
			return
		}
		defer c.Close()
		for i := 1; i < len(wire)-4; i++ {
			if c.Send(wire[i:i+1]) != nil {
				drips <- nil
				return
			}
			if err := wsclient.WaitTaken(c); err != nil {
				drips <- err
				return
			}
			time.Sleep(time.Millisecond) // the pace of the drip, 4 s in all
		}
		drips <- fmt.Errorf("all %d bytes were taken", len(wire))
	}()
	wantHealthy(t, r) // meanwhile
	for i, c := range conns {
		if err := c.Discard(); err != nil {
			t.Errorf("%d bytes of a head: %v", i, err)
		}
	}
	if err := <-drips; err != nil {
		t.Errorf("drip: %v", err)
	}
	r.WaitDescriptors(before)
}

// TestSlowBodyIsCut: a publisher that never sends its body does not stay.
func TestSlowBodyIsCut(t *testing.T) {
	t.Parallel()
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"handshake_timeout": "1s"}})
	before := idleDescriptors(t, r)
	var conns []*wsclient.Conn
	for range 20 {
		c, err := wsclient.Dialer{Addr: r.Addr, Timeout: relaytest.Patience}.DialRaw(
			[]byte("POST /api/push HTTP/1.1\r\nHost: a\r\nX-API-KEY: " + relaytest.Key + "\r\nContent-Length: 100\r\n\r\n{"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	wantHealthy(t, r)
	for _, c := range conns {
		if err := c.Discard(); err != nil {
			t.Fatal(err)
		}
	}
	r.WaitDescriptors(before)
}

// TestHalfOpenPeersAreClosed: who does not answer pings is closed after the
// pong timeout; who answers, or says anything at all, stays.
func TestHalfOpenPeersAreClosed(t *testing.T) {
	t.Parallel()
	const rounds = 3
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"ping_interval": "500ms", "pong_timeout": "500ms"}})
	p := r.Publisher(t)
	before := idleDescriptors(t, r)
	dead, alive := r.Dial(t, "/ws"), r.Dial(t, "/ws?token=alive")

	dead.Mute = true
	closed := make(chan error, 1)
	go func() { // ends when the relay closes the connection
		f, err := dead.ReadFrame()
		if err == nil && f.Op != wsclient.OpPing {
			err = fmt.Errorf("got opcode %d, want a ping", f.Op)
		}
		closed <- errors.Join(err, dead.Discard())
	}()
	for range rounds {
		f, err := alive.ReadFrame()
		if err != nil || f.Op != wsclient.OpPing {
			t.Fatalf("got opcode %d %v, want a ping", f.Op, err)
		}
		if err := alive.SendFrames(wsclient.Data(wsclient.OpPong, f.Payload)); err != nil {
			t.Fatal(err)
		}
	}
	push(t, p, `{"event_name":"mine","subject":1,"token":"alive"}`)
	wantEvent(t, alive, "mine")
	if err := <-closed; err != nil {
		t.Errorf("the mute peer: %v", err)
	}
	alive.Close()
	p.Close()
	r.WaitDescriptors(before)
}

// TestPingsOff: an interval of zero sends none.
func TestPingsOff(t *testing.T) {
	t.Parallel()
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"ping_interval": "0s", "pong_timeout": "10ms"}})
	p := r.Publisher(t)
	c := r.Dial(t, "/ws")
	settle(t, c)
	push(t, p, `{"event_name":"later","subject":1,"delay_seconds":1}`)
	f, err := c.ReadFrame()
	if err != nil || f.Op != wsclient.OpText {
		t.Fatalf("got opcode %d %v, want the message and no ping", f.Op, err)
	}
}

// TestFlood: more messages than a client may send in a second close it.
func TestFlood(t *testing.T) {
	t.Parallel()
	r := relaytest.StartRelay(t, relaytest.Setup{})
	r.Secret("token-of-a-flooder")
	for name, f := range map[string]wsclient.Frame{
		"app pings":   text(`{"type":"ping","ts":1}`),
		"pings":       final(wsclient.OpPing, ""),
		"pongs":       final(wsclient.OpPong, ""),
		"garbage":     text("x"),
		"identifying": text(`{"event":"identify","data":{"token":"x"}}`),
	} {
		t.Run(name, func(t *testing.T) {
			const flood, batch = 50_000, 500
			c := r.Dial(t, "/ws?token=token-of-a-flooder")
			wire := []byte(repeat(string(f.Bytes()), batch))
			sent := make(chan struct{})
			go func() { // ends with the flood or the connection
				defer close(sent)
				for range flood / batch {
					if c.Send(wire) != nil {
						return
					}
				}
			}()
			defer func() { c.Close(); <-sent }()
			for {
				got, err := c.ReadFrame()
				if err != nil {
					t.Fatalf("no close frame: %v", err)
				}
				if got.Op == wsclient.OpClose {
					wantCloseCode(t, got, []int{1008})
					return
				}
			}
		})
	}
	wantHealthy(t, r)
}
