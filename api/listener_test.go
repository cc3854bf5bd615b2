package api

import (
	"context"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

const healthRequest = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"

// Whoever holds connections without ever showing a key cannot keep publishers
// out: near the bound the oldest of them makes room for each newcomer.
func TestStrangersMakeRoom(t *testing.T) {
	const most = 8
	r := startRelay(t, func(o *Options, _ *recorder) { o.MaxConns = most })
	known := r.dial(t).post(`{"event_name":"e","subject":0}`)
	known.wantStatus(200)
	var strangers []*publisher
	for range most {
		p := r.dial(t).write(healthRequest)
		p.wantAnswer(200, healthBody)
		strangers = append(strangers, p)
	}
	// Six fit under three quarters of eight, and one of these is known.
	for i, p := range strangers[:3] {
		if p.wantEnd(); t.Failed() {
			t.Fatalf("stranger %d", i)
		}
	}
	for _, p := range strangers[3:] {
		p.write(healthRequest).wantAnswer(200, healthBody)
	}
	known.post(`{"event_name":"e","subject":1}`).wantStatus(200)
}

// Who is answered stays, however many come and ask nothing: they make room for each
// other. Of those that were answered the one goes that was silent for longest.
func TestThoseWhoAskNothingMakeRoomFirst(t *testing.T) {
	const most = 8 // six are served at once
	r := startRelay(t, func(o *Options, _ *recorder) { o.MaxConns = most })
	ask := func(p *publisher) *publisher {
		p.write(healthRequest).wantAnswer(200, healthBody)
		return p
	}
	first, second := ask(r.dial(t)), ask(r.dial(t))
	ask(first)
	var idle []*publisher
	for range 3 * most {
		idle = append(idle, r.dial(t).write("GET /health HTT"))
		ask(first)
		ask(second)
	}
	for _, p := range idle[:2*most] {
		if p.wantEnd(); t.Failed() {
			t.Fatal("one that asked nothing holds its place")
		}
	}
	ask(second)
	ask(first)
	for range 4 + 1 { // the places of those that ask nothing, and one more
		ask(r.dial(t))
	}
	second.wantEnd()
	ask(first)
}

// A connection that comes in, or begins to read, while the server stops is in
// a hurry as well.
func TestHurryHoldsForEveryRead(t *testing.T) {
	l := newListener(nil, 0)
	pipe := &deadlineConn{}
	early := &conn{Conn: pipe, from: l}
	l.open[early] = struct{}{}
	stop := time.Now().Add(time.Minute)
	l.hurry(stop)
	for _, asked := range []time.Time{{}, stop.Add(time.Hour), stop} {
		if err := early.SetReadDeadline(asked); err != nil || !pipe.read.Equal(stop) {
			t.Errorf("asked for %v: deadline %v, %v", asked, pipe.read, err)
		}
	}
	sooner := stop.Add(-time.Second)
	if err := early.SetReadDeadline(sooner); err != nil || !pipe.read.Equal(sooner) {
		t.Errorf("a sooner one: deadline %v, %v", pipe.read, err)
	}
}

// Half a request that comes in around the stop does not hold it up.
func TestShutdownMeetsNewHalfRequests(t *testing.T) {
	r := startRelay(t, func(o *Options, _ *recorder) { o.ReadTimeout, o.IdleTimeout = time.Hour, time.Hour })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done := make(chan error, 1)
	for i := range 20 {
		if i == 10 {
			go func() { done <- r.Shutdown(ctx) }()
		}
		r.tryDial(t, "POST /api/push HTTP/1.1\r\nHost: x\r\nX-API-KEY: "+testKey+"\r\nContent-Length: 100\r\n\r\n{")
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A publisher that has been answered in place is no stranger when it is handed
// over, and takes nobody's place.
func TestPublishersInPlaceAreKnown(t *testing.T) {
	const most = 8
	r := startRelay(t, func(o *Options, _ *recorder) { o.MaxConns = most })
	stranger := r.dial(t).write(healthRequest)
	stranger.wantAnswer(200, healthBody)
	var publishers []*publisher
	for range most - 1 {
		p := r.dial(t).post(`{"event_name":"e","subject":0}`)
		p.wantStatus(200)
		publishers = append(publishers, p)
	}
	for range 3 {
		for _, p := range publishers {
			p.post(`{"event_name":"e","subject":1,"delay_seconds":9}`)
		}
		for _, p := range publishers {
			p.wantStatus(200)
		}
	}
	stranger.write(healthRequest).wantAnswer(200, healthBody)
}

// ready is a connection on which there is always something to read, and room.
type ready struct{ net.Conn }

func (ready) Read(p []byte) (int, error)  { return len(p), nil }
func (ready) Write(p []byte) (int, error) { return len(p), nil }

// A connection on which no read and no write ever waits keeps the processor from
// nobody.
func TestConnLetsOthersRun(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	c := &conn{Conn: ready{}, from: newListener(nil, 0)}
	for name, do := range map[string]func([]byte) (int, error){"read": c.Read, "write": c.Write} {
		const rounds = 100
		let := 0
		for range rounds {
			var ran atomic.Bool
			go ran.Store(true)
			if _, err := do(make([]byte, 16)); err != nil {
				t.Fatal(err)
			}
			if ran.Load() {
				let++
			}
		}
		if let < rounds*3/4 { // the scheduler takes one out of turn at times
			t.Errorf("%s: another ran in %d rounds of %d", name, let, rounds)
		}
	}
}
