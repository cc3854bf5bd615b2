package main

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// fickle is a server whose first handshakes fail: it closes the connection.
// Those that succeed stay open until it is closed.
type fickle struct {
	l    net.Listener
	done sync.WaitGroup
}

func startFickle(t *testing.T, failures int) *fickle {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fickle{l: l}
	f.done.Go(func() { // ends with the listener
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if n < failures {
				_ = conn.Close()
				continue
			}
			f.done.Go(func() { // ends with the client
				defer conn.Close()
				var request [4 << 10]byte
				_, _ = conn.Read(request[:])
				_, _ = conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: " + handshakeAccept + "\r\n\r\n"))
				_, _ = conn.Read(request[:])
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		f.done.Wait()
	})
	return f
}

func TestFailedHandshakes(t *testing.T) {
	const clients, failures = 5, 3
	for _, c := range []struct {
		name         string
		plan         plan
		open, failed int
		says         string
	}{
		{"the end of the swarm", plan{}, 0, 0, "in the handshake"},
		{"tolerated", plan{Tolerant: true}, clients - failures, failures, ""},
		{"tried again", plan{Tolerant: true, Persistent: true}, clients, failures, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := startFickle(t, failures)
			p := c.plan
			p.Target, p.WSPath, p.Count, p.Dialing, p.Payload = netip.MustParseAddrPort(f.l.Addr().String()), wsPath, clients, 1, minSubject
			s, err := startFleet(p, 0, "", nil)
			if err != nil {
				t.Fatal(err)
			}
			st, err := s.connected()
			_, failed := s.end(0)
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v, want %q", err, c.says)
				}
				return
			}
			if err != nil || failed != nil || st.Open != c.open || int(st.Failed) != c.failed {
				t.Errorf("%v, %v, %d open and %d failed, want %d and %d", err, failed, st.Open, st.Failed, c.open, c.failed)
			}
		})
	}
}

// TestStorm: all leave and return, and the latencies of a lap are those since
// the last.
func TestStorm(t *testing.T) {
	const clients = 5
	f := startFickle(t, 0)
	s, err := startFleet(plan{
		Target: netip.MustParseAddrPort(f.l.Addr().String()), WSPath: wsPath, Count: clients, Dialing: clients, Payload: minSubject,
	}, 0, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.end(0)
	if _, err := s.connected(); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		if round > 0 {
			s.order(order{Do: orderStorm})
		}
		st, err := s.connected()
		if err != nil || st.Open != clients || st.Opened != int64(clients*(round+1)) {
			t.Fatalf("round %d: %+v, %v", round, st, err)
		}
		l, err := s.lap()
		if err != nil || l.Handshakes.count() != clients {
			t.Fatalf("round %d: %d handshakes in the lap, want %d, %v", round, l.Handshakes.count(), clients, err)
		}
	}
}

func TestProgressLine(t *testing.T) {
	for _, c := range []struct {
		count, total int64
		took         time.Duration
		says         []string
	}{
		{0, 100, time.Second, []string{"0 of 100", "– left"}},
		{25, 100, time.Second, []string{"25 of 100", "25 a second", "3s left"}},
		{100, 100, time.Second, []string{"100 of 100", "0s left"}},
		{-500, 2000, 500 * time.Millisecond, []string{"25 %", "1.5s left"}},
	} {
		got := progressLine("connecting", c.count, c.total, c.took)
		for _, s := range append(c.says, "connecting") {
			if !strings.Contains(got, s) {
				t.Errorf("%q, want %q in it", got, s)
			}
		}
	}
}

// TestSpreadCrossesProcesses: what a worker measured arrives as it was.
func TestSpreadCrossesProcesses(t *testing.T) {
	here, there, empty := newSpread(), newSpread(), newSpread()
	for i := range 1000 {
		there.record(int64(i) * time.Millisecond.Nanoseconds())
	}
	text, err := there.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	arrived := newSpread()
	if err := arrived.UnmarshalText(text); err != nil {
		t.Fatal(err)
	}
	here.merge(arrived)
	here.merge(empty)
	for _, p := range []float64{50, 99, 100} {
		if here.at(p) != there.at(p) || here.at(p) == 0 {
			t.Errorf("at %v: %v, want %v", p, here.at(p), there.at(p))
		}
	}
	if none, err := empty.MarshalText(); err != nil || len(none) != 0 || empty.at(99) != 0 || empty.curve() != nil {
		t.Errorf("an empty spread: %q, %v", none, err)
	}
}
