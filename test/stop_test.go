package test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"gorelay/internal/relaytest"
	"gorelay/internal/wsclient"
)

// The size of the stop tests.
const (
	stopPublishers = 8
	stopReaders    = 6
	stopAfter      = 500 // pushes before the signal
)

// stopPublisher pushes until the relay refuses or is gone, and keeps account.
type stopPublisher struct {
	accepted []string // events with a 200, in order
	unknown  string   // the one without an answer, "" if there is none
	err      error
}

func (s *stopPublisher) run(r *relaytest.Relay, id int, total *atomic.Int64) {
	p := &relaytest.Publisher{Addr: r.Addr, Key: relaytest.Key}
	defer p.Close()
	for n := 0; ; n++ {
		event := fmt.Sprintf("%d/%d", id, n)
		body := `{"event_name":"` + event + `","subject":{"fill":"` + repeat("f", 200) + `"}`
		if n%2 == 1 {
			body += `,"token":"all-share-this"`
		}
		answer, err := p.Push([]byte(body + `}`))
		switch {
		case err != nil:
			s.unknown = event
			return
		case answer.Status == 503:
			if answer.Header.Get("Retry-After") == "" {
				s.err = fmt.Errorf("503 without Retry-After: %s", answer.Body)
			}
			return
		case answer.Status != 200:
			s.err = fmt.Errorf("status %d %s", answer.Status, answer.Body)
			return
		}
		s.accepted = append(s.accepted, event)
		total.Add(1)
	}
}

// stopReader reads to the close frame.
type stopReader struct {
	conn *wsclient.Conn
	got  []string
	end  *wsclient.CloseError
	err  error
}

func (s *stopReader) run() {
	for {
		_, raw, err := s.conn.ReadMessage()
		if errors.As(err, &s.end) {
			s.err = s.conn.ReadEnd()
			s.conn.Close()
			return
		}
		if err != nil {
			s.err = err
			return
		}
		event, _ := eventOf(string(raw))
		s.got = append(s.got, event)
	}
}

// TestStopUnderLoad sends SIGTERM while publishers push: what was answered
// with 200 reaches every reader, then the close frame, then the end.
func TestStopUnderLoad(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"max_pending_bytes": 32 << 20}})
			readers, publishers := make([]stopReader, stopReaders), make([]stopPublisher, stopPublishers)
			var total atomic.Int64
			var wg sync.WaitGroup
			for i := range readers {
				readers[i].conn = r.Dial(t, "/ws?token=all-share-this")
				settle(t, readers[i].conn)
				wg.Go(readers[i].run)
			}
			for i := range publishers {
				wg.Go(func() { publishers[i].run(r, i, &total) })
			}
			eventually(t, "the load", func() bool { return total.Load() >= stopAfter })
			r.Signal(signal)
			if code := r.Wait(); code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
			wg.Wait()
			judgeStop(t, readers, publishers)
		})
	}
}

func judgeStop(t *testing.T, readers []stopReader, publishers []stopPublisher) {
	t.Helper()
	for i, p := range publishers {
		if p.err != nil {
			t.Errorf("publisher %d: %v", i, p.err)
		}
	}
	for i, r := range readers {
		if r.err != nil || r.end == nil || r.end.Code != 1001 {
			t.Errorf("reader %d ended with %v, %v, want close 1001", i, r.end, r.err)
		}
		got := make(map[string]int)
		for _, event := range r.got {
			got[event]++
			if got[event] > 1 {
				t.Errorf("reader %d: %s came twice", i, event)
			}
		}
		for _, p := range publishers {
			for _, event := range p.accepted {
				if got[event] == 0 {
					t.Errorf("reader %d: %s was accepted and is lost", i, event)
				}
				delete(got, event)
			}
			delete(got, p.unknown)
		}
		for event := range got {
			t.Errorf("reader %d: %s came and was refused", i, event)
		}
	}
}

// TestStopWithStalledReader: a client that reads nothing cannot hold up the
// stop past its limit, nor keep others from what is theirs.
func TestStopWithStalledReader(t *testing.T) {
	t.Parallel()
	const pushes, size = 64, 512 << 10 // more than the kernel takes for a socket
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"max_pending_bytes": 128 << 20, "shutdown_timeout": "2s"}})
	p := r.Publisher(t)
	stalled, err := wsclient.Dialer{Addr: r.Addr, ReadBuffer: 4 << 10}.Dial("/ws?token=stalled")
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Close()
	reader := stopReader{conn: r.Dial(t, "/ws?token=reads")}
	settle(t, reader.conn)
	done := make(chan struct{})
	go func() { defer close(done); reader.run() }()

	for n := range pushes {
		push(t, p, fmt.Sprintf(`{"event_name":"big/%d","subject":%s,"token":"stalled"}`, n, quote(repeat("s", size))))
		push(t, p, fmt.Sprintf(`{"event_name":"small/%d","subject":1,"token":"reads"}`, n))
	}
	if code := r.Stop(); code != 0 { // Wait has its own, generous limit
		t.Errorf("exit code %d, want 0", code)
	}
	<-done
	if reader.err != nil || reader.end == nil || reader.end.Code != 1001 || len(reader.got) != pushes {
		t.Errorf("the reader got %d messages and %v, %v; want %d and close 1001", len(reader.got), reader.end, reader.err, pushes)
	}
}

// TestStopWithLateReader: what waits for a client when the relay is told to
// stop still goes out, if the client takes it within the limit.
func TestStopWithLateReader(t *testing.T) {
	t.Parallel()
	const pushes, size = 40, 256 << 10 // 10 MiB wait
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"max_pending_bytes": 64 << 20, "shutdown_timeout": "20s"}})
	p := r.Publisher(t)
	c, err := wsclient.Dialer{Addr: r.Addr, ReadBuffer: 64 << 10}.Dial("/ws?token=late")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	settle(t, c)
	for n := range pushes {
		push(t, p, fmt.Sprintf(`{"event_name":"n%d","subject":%s,"token":"late"}`, n, quote(repeat("l", size))))
	}
	r.Signal(syscall.SIGTERM)
	// It reads only after the relay has stopped to listen.
	eventually(t, "the stop", func() bool {
		probe, err := wsclient.Dialer{Addr: r.Addr}.Dial("/ws")
		if err == nil {
			probe.Close()
		}
		return err != nil
	})
	for n := range pushes {
		wantEvent(t, c, fmt.Sprintf("n%d", n))
	}
	wantClose(t, c, 1001)
	c.Close()
	if code := r.Wait(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// TestStopSignalTwice: programs such as timeout send their signal to a process
// and to its group, which is one wish to stop. Who asks again later has lost
// patience.
func TestStopSignalTwice(t *testing.T) {
	t.Run("at once", func(t *testing.T) {
		t.Parallel()
		r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"shutdown_timeout": "1m"}})
		mute := r.Dial(t, "/ws") // the stop waits for it, so that no signal comes too late
		mute.Mute = true
		settle(t, mute)
		// It gets both when it goes on.
		for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCONT} {
			r.Signal(s)
		}
		wantClose(t, mute, 1001)
		if code := r.Wait(); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
	})
	t.Run("later", func(t *testing.T) {
		t.Parallel()
		r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"shutdown_timeout": "1h", "write_timeout": "1h", "max_pending_bytes": 64 << 20}})
		stalled, err := wsclient.Dialer{Addr: r.Addr, ReadBuffer: 4 << 10}.Dial("/ws?token=stalled")
		if err != nil {
			t.Fatal(err)
		}
		defer stalled.Close()
		settle(t, stalled)
		p := r.Publisher(t)
		for range 32 { // more than the kernel takes for a socket, so the stop waits
			push(t, p, `{"event_name":"big","subject":`+quote(repeat("s", 512<<10))+`,"token":"stalled"}`)
		}
		r.Signal(syscall.SIGTERM)
		r.WaitLog("stopping")
		eventually(t, "the end", func() bool {
			r.Signal(syscall.SIGTERM)
			return strings.Contains(r.Log(), "stopped at once by a second signal")
		})
		if code := r.Wait(); code != 1 {
			t.Errorf("exit code %d, want 1", code)
		}
	})
}

// TestStopWithIdleConnections: half a handshake, an idle publisher, a delayed push and
// a mute client do not hold up the stop.
func TestStopWithIdleConnections(t *testing.T) {
	t.Parallel()
	r := relaytest.StartRelay(t, relaytest.Setup{})
	if _, err := r.Publisher(t).Do("GET", "/health", nil); err != nil {
		t.Fatal(err)
	}
	for _, raw := range []string{"", "GET /ws HTTP/1.1\r\n", "POST /api/push HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{"} {
		c, err := wsclient.Dialer{Addr: r.Addr}.DialRaw([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	push(t, r.Publisher(t), `{"event_name":"much later","subject":1,"delay_seconds":3600}`)
	mute := r.Dial(t, "/ws")
	mute.Mute = true
	settle(t, mute)
	r.Signal(syscall.SIGTERM)
	wantClose(t, mute, 1001)
	if code := r.Wait(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}
