package engine

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// answerPuts is an Answer to requests of a single line: "PUT /x HTTP/1.1" is
// answered with "x", "PUT /panic" panics, "PUT /last" is the last one, and any
// other method is foreign.
func answerPuts(read, dst []byte) (n int, out []byte, v Verdict) {
	if method := []byte("PUT "); !bytes.HasPrefix(read, method[:min(len(method), len(read))]) {
		return 0, dst, Foreign
	}
	line, _, ok := bytes.Cut(read, []byte{'\n'})
	if !ok {
		return 0, dst, Partial
	}
	target, _ := requestTarget(line)
	dst = append(append(dst, target[1:]...), '\n')
	switch string(target) {
	case "/panic":
		panic("a token")
	case "/last":
		return 0, dst, Last
	case "/big":
		dst = append(dst, make([]byte, bigAnswer)...)
	}
	return len(line) + 1, dst, Answered
}

const bigAnswer = 8 << 20 // more than the buffers of a socket take

func put(target string) []byte { return []byte("PUT /" + target + " HTTP/1.1\n") }

// serveInPlace starts an engine whose loops answer requests.
func serveInPlace(t *testing.T, idle time.Duration, change func(*Options)) *server {
	t.Helper()
	s := serve(t, scripted{}, change)
	s.http.AnswerWith(answerPuts, idle)
	return s
}

// wantRead reads exactly want.
func wantRead(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("got %.60q, %v; want %.60q", got, err, want)
	}
}

// handedOver is the next connection that comes to the HTTP server.
func (s *server) handedOver() net.Conn {
	s.t.Helper()
	c, err := s.HTTP().Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// After requests that it has answered a loop gives way before it waits, with any
// number of processors.
func TestLoopGivesWayAfterAnswers(t *testing.T) {
	for _, procs := range []int{1, 2} {
		t.Run(fmt.Sprint(procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			s := serveInPlace(t, time.Hour, func(o *Options) { o.Loops = 1 })
			var turns atomic.Int64
			l := s.loops[0]
			l.run(func() {
				ring := l.turn.await
				l.turn.await = func(fd uintptr) bool {
					if !l.turn.rung { // it is asked twice in a turn
						turns.Add(1)
					}
					return ring(fd)
				}
			})
			c := s.connect(0)
			for i := range 3 {
				before := turns.Load()
				s.write(c, put("a"))
				wantRead(t, c, "a\n")
				await(t, fmt.Sprintf("a turn after answer %d", i+1), func() bool { return turns.Load() > before })
			}
		})
	}
}

// A publisher that sends more than is answered has one turn in a round of its
// loop, however often the epoll says that there is something.
func TestOneTurnOfHTTPInARound(t *testing.T) {
	s := serve(t, scripted{}, func(o *Options) { o.Loops = 1 })
	var got, most atomic.Int64
	in := &s.loops[0].inbox
	s.http.AnswerWith(func(read, dst []byte) (n int, out []byte, v Verdict) {
		end := bytes.IndexByte(read, '\n') + 1
		if end == 0 {
			return 0, dst, Partial
		}
		got.Add(1)
		in.mu.Lock()
		most.Store(max(most.Load(), int64(len(in.tasks))))
		in.mu.Unlock()
		return end, append(dst, read[:1]...), Answered
	}, time.Hour)
	c := s.connect(0)
	const requests = 5000
	one := bytes.Repeat([]byte("x"), 4000)
	one[len(one)-1] = '\n'
	s.write(c, one)
	wantRead(t, c, "x")
	for range requests {
		s.write(c, one)
	}
	await(t, "all are answered", func() bool { return got.Load() == requests+1 })
	if most.Load() > 1 {
		t.Errorf("%d turns of one connection at once", most.Load())
	}
}

// Requests are answered in place wherever their bytes are cut.
func TestAnswerInPlace(t *testing.T) {
	s := serveInPlace(t, time.Hour, nil)
	all := bytes.Join([][]byte{put("a"), put("bc"), put("d")}, nil)
	for cut := range all {
		c := s.connect(0)
		s.write(c, put("z"))
		wantRead(t, c, "z\n")
		s.write(c, all[:cut])
		s.write(c, all[cut:])
		wantRead(t, c, "a\nbc\nd\n")
		s.write(c, put("e"))
		wantRead(t, c, "e\n")
		_ = c.Close()
	}
	await(t, "all are closed", func() bool { return s.Stats().HTTP == 0 })
	if n := s.pendingHandshakes(); n != 0 {
		t.Errorf("%d handshakes under way", n)
	}
}

// What is not answered in place goes to the HTTP server, from its first byte.
func TestForeignRequestIsHandedOver(t *testing.T) {
	s := serveInPlace(t, time.Hour, nil)
	c := s.connect(0)
	s.write(c, put("a"))
	wantRead(t, c, "a\n")
	s.write(c, append(put("b"), "GET /c HTTP/1.1\n"...))
	handed := s.handedOver()
	wantRead(t, handed, "GET /c HTTP/1.1\n")
	wantRead(t, c, "b\n")
	s.write(c, put("d"))
	wantRead(t, handed, string(put("d")))
	s.write(handed, []byte("answer"))
	wantRead(t, c, "answer")
	if local, remote := handed.LocalAddr(), handed.RemoteAddr(); local.String() != s.addr || remote.String() != c.LocalAddr().String() {
		t.Errorf("from %v to %v", remote, local)
	}
	if st := s.Stats(); st.HTTP != 1 || st.HTTPConns != 1 {
		t.Errorf("%d of %d connections open", st.HTTP, st.HTTPConns)
	}
}

// The beginning of a request waits a moment here, then with the HTTP server,
// and so does one whose peer has ended.
func TestPartialRequestIsHandedOver(t *testing.T) {
	s := serveInPlace(t, time.Hour, nil)
	for _, what := range []string{"late", "ended", "long"} {
		c := s.connect(0)
		s.write(c, put("a"))
		wantRead(t, c, "a\n")
		half := "PUT /b"
		if what == "long" {
			half += strings.Repeat("b", partialRequest)
		}
		s.write(c, []byte(half))
		if what == "ended" {
			if err := c.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
		}
		wantRead(t, s.handedOver(), half)
	}
}

// Who has never been answered cannot hold a place with half a request: the HTTP
// server has it at once, and ends it when others need the place.
func TestHalfARequestOfAStrangerIsHandedOver(t *testing.T) {
	s := serveInPlace(t, time.Hour, nil)
	s.http.AnswerWith(func(read, dst []byte) (int, []byte, Verdict) { return 0, dst, Partial }, time.Hour)
	c := s.connect(0)
	s.write(c, put("a"))
	handed := s.handedOver()
	wantRead(t, handed, string(put("a")))
	if s.http.Known(handed) {
		t.Error("it is none")
	}
}

// A client that does not take its answers gets them all the same, in order and
// before those of the HTTP server.
func TestUnreadAnswersAreKept(t *testing.T) {
	s := serveInPlace(t, time.Hour, nil)
	c := s.connect(4096)
	s.write(c, append(put("big"), put("a")...))
	handed := s.handedOver()
	go func() {
		if _, err := handed.Read(make([]byte, 1)); err != nil { // sends what is left first
			t.Error(err)
		}
		_, _ = handed.Write([]byte("end"))
	}()
	s.write(c, []byte("G"))
	wantRead(t, c, "big\n"+string(make([]byte, bigAnswer))+"a\nend")
}

func TestSilentConnectionsOfHTTPAreClosed(t *testing.T) {
	s := serveInPlace(t, 30*time.Millisecond, nil)
	for range 2 { // the clock stands still between them
		c := s.connect(0)
		s.write(c, put("a"))
		wantRead(t, c, "a\n")
		wantHangUp(t, c)
	}
	await(t, "none is counted", func() bool { return s.Stats().HTTP == 0 })
}

// When nobody serves HTTP any more the loops end what they have of it.
func TestClosedListenerEndsThoseOnTheLoops(t *testing.T) {
	s := serveInPlace(t, time.Hour, nil)
	idle, half := s.connect(0), s.connect(0)
	for _, c := range []net.Conn{idle, half} {
		s.write(c, put("a"))
		wantRead(t, c, "a\n")
	}
	s.write(half, []byte("PUT /b"))
	await(t, "half a request has come", func() (partial bool) {
		for _, l := range s.loops {
			onLoop(l, func() { partial = partial || l.unfinished > 0 })
		}
		return partial || s.http.Open() < 2 // or it has been handed over
	})
	if err := s.HTTP().Close(); err != nil {
		t.Fatal(err)
	}
	wantHangUp(t, idle)
	if answer, err := io.ReadAll(half); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 503") {
		t.Errorf("half a request: %q, %v", answer, err)
	}
}

// What has come before the listener closes is answered.
func TestClosedListenerAnswersWhatHasCome(t *testing.T) {
	s := serveInPlace(t, time.Hour, func(o *Options) { o.Loops = 1 })
	c := s.connect(0)
	s.write(c, put("a"))
	wantRead(t, c, "a\n")
	l := s.loops[0]
	onLoop(l, func() {
		s.write(c, put("b")) // the loop cannot have read it
		l.endHTTP()
	})
	if answer, err := io.ReadAll(c); err != nil || string(answer) != "b\n" {
		t.Errorf("%q, %v", answer, err)
	}
}

func TestPanicInAnAnswer(t *testing.T) {
	s := serveInPlace(t, time.Hour, nil)
	other := s.connect(0)
	s.write(other, put("a"))
	wantRead(t, other, "a\n")
	for range 2 { // at the first look and at a later one
		c := s.connect(0)
		s.write(c, put("panic"))
		if answer, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 500") {
			t.Errorf("%q, %v", answer, err)
		}
		s.write(other, put("b"))
		wantRead(t, other, "b\n")
	}
	s.write(other, put("panic"))
	if answer, err := io.ReadAll(other); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 500") {
		t.Errorf("%q, %v", answer, err)
	}
	if n := s.Stats().Panics; n != 3 {
		t.Errorf("%d panics counted", n)
	}
}

func TestLastAnswer(t *testing.T) {
	s := serveInPlace(t, time.Hour, nil)
	c := s.connect(0)
	s.write(c, append(put("a"), put("last")...))
	if answer, err := io.ReadAll(c); err != nil || string(answer) != "a\nlast\n" {
		t.Errorf("%q, %v", answer, err)
	}
}

// When all places are taken, whoever has been silent between two requests for
// longest makes room for a newcomer.
func TestTheIdlestMakesRoom(t *testing.T) {
	s := serveInPlace(t, time.Hour, func(o *Options) { o.MaxHTTPConns, o.Loops = 2, 1 })
	first, second := s.connect(0), s.connect(0)
	for _, c := range []net.Conn{first, second, first} {
		s.write(c, put("a"))
		wantRead(t, c, "a\n")
	}
	if r := s.answerTo("GET /health HTTP/1.1\r\nHost: h\r\n\r\n"); r.Status != 503 {
		t.Errorf("while both are in use: %d", r.Status)
	}
	l := s.loops[0]
	onLoop(l, func() { // as if that time had passed
		l.https[0].since -= idleLeast
		l.https[1].since -= idleLeast + 1
	})
	third := s.connect(0)
	s.write(third, put("c"))
	wantRead(t, third, "c\n")
	if n, err := second.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the idlest: %d, %v", n, err)
	}
	s.write(first, put("b"))
	wantRead(t, first, "b\n")
}

// Who makes room is looked at once more, and that must not touch what the newcomer
// has sent: each gets its own answer.
func TestRoomIsNotMadeOfAnothersBytes(t *testing.T) {
	s := serveInPlace(t, time.Hour, func(o *Options) { o.MaxHTTPConns, o.Loops = 2, 1 })
	busy, idle := s.connect(0), s.connect(0)
	for _, c := range []net.Conn{busy, idle} {
		s.write(c, put("a"))
		wantRead(t, c, "a\n")
	}
	l := s.loops[0]
	onLoop(l, func() {
		l.https[0].since -= idleLeast + 1
		l.https[1].since -= idleLeast
	})
	hold, held := make(chan struct{}), make(chan struct{})
	l.run(func() { close(held); <-hold })
	<-held
	newcomer := s.connect(0)
	s.write(newcomer, put("new"))
	s.write(busy, put("old")) // behind the newcomer: the loop meets that one first
	close(hold)
	wantRead(t, busy, "old\n")
	wantRead(t, newcomer, "new\n")
	if n, err := idle.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the idle one: %d, %v", n, err)
	}
}

// For one who finds no room one connection is closed, on whatever loop it is, and
// who comes next finds it.
func TestRoomIsMadeOnceForOne(t *testing.T) {
	const loops = 8
	s := serveInPlace(t, time.Hour, func(o *Options) { o.MaxHTTPConns, o.Loops = loops-1, loops })
	for range loops - 1 { // each on a loop of its own
		c := s.connect(0)
		s.write(c, put("a"))
		wantRead(t, c, "a\n")
	}
	for _, l := range s.loops {
		onLoop(l, func() {
			for _, h := range l.https {
				h.since -= idleLeast
			}
		})
	}
	if r := s.answerTo("PUT /b HTTP/1.1\n"); r.Status != 503 {
		t.Errorf("%d on the loop that has none to close", r.Status)
	}
	await(t, "one is closed", func() bool { return s.http.Open() == loops-2 })
	for _, l := range s.loops { // all that was asked for has been done
		onLoop(l, func() {})
	}
	if n := s.http.Open(); n != loops-2 {
		t.Errorf("%d are left of %d", n, loops-1)
	}
}

// Connections on the loops count as those that are handed over.
func TestMaxHTTPConnsCountsThoseOnTheLoops(t *testing.T) {
	s := serveInPlace(t, time.Hour, func(o *Options) { o.MaxHTTPConns = 2 })
	for range 2 {
		c := s.connect(0)
		s.write(c, put("a"))
		wantRead(t, c, "a\n")
	}
	if r := s.answerTo("GET /health HTTP/1.1\r\nHost: h\r\n\r\n"); r.Status != 503 {
		t.Errorf("the third: %d", r.Status)
	}
}

// A connection goes to the HTTP server and back without losing a byte.
func TestReturnedConnection(t *testing.T) {
	s := serveInPlace(t, time.Hour, func(o *Options) { o.MaxHTTPConns = 1 })
	c := s.connect(0)
	for i := range 20 {
		name := fmt.Sprint(i)
		s.write(c, []byte("GET /\n"))
		handed := s.handedOver()
		wantRead(t, handed, "GET /\n")
		if err := s.http.Reserve(handed); err != nil {
			t.Fatal(err)
		}
		s.http.Return(handed, put(name))
		wantRead(t, c, name+"\n")
		s.write(c, put("b"))
		wantRead(t, c, "b\n")
		// The HTTP server has closed its side of it by now, or does soon.
		await(t, "one is counted", func() bool { return s.http.Open() == 1 })
	}
}

// reserved is a connection that was handed over and is to come back.
func (s *server) reserved() (client, handed net.Conn) {
	s.t.Helper()
	client = s.connect(0)
	s.write(client, []byte("GET /\n"))
	handed = s.handedOver()
	if err := s.http.Reserve(handed); err != nil {
		s.t.Fatal(err)
	}
	return client, handed
}

// Who reserves a connection and ends it instead leaves nothing behind.
func TestReservedConnectionCloses(t *testing.T) {
	s := serveInPlace(t, time.Hour, nil)
	c, handed := s.reserved()
	_ = handed.Close()
	wantHangUp(t, c)
	if err := s.http.Reserve(c); err == nil {
		t.Error("reserved a connection of another's")
	}
}

// Whoever closes a connection, and whenever, each descriptor is closed once.
func TestReservedConnectionIsClosedByAnother(t *testing.T) {
	s := serveInPlace(t, time.Hour, nil)
	c, handed := s.reserved()
	_ = handed.Close()
	s.http.Return(handed, put("a"))
	wantHangUp(t, c)
	if n := s.Stats().HTTP; n != 0 {
		t.Errorf("%d connections are counted", n)
	}
	if err := s.http.Reserve(handed); err == nil {
		t.Error("reserved what was closed")
	}
}

// Between two requests a timeout is the end of a connection, not an error.
func TestSilenceBehindUnreadAnswers(t *testing.T) {
	s := serveInPlace(t, time.Hour, nil)
	c := s.connect(4096)
	s.write(c, put("big"))
	handed := s.handedOver()
	read := make(chan error, 1)
	go func() {
		if err := handed.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			t.Error(err)
		}
		_, err := handed.Read(make([]byte, 1))
		read <- err
	}()
	wantRead(t, c, "big\n"+string(make([]byte, bigAnswer)))
	if err := <-read; err != io.EOF {
		t.Errorf("Read: %v", err)
	}
	if !s.http.Known(handed) {
		t.Error("it is a stranger")
	}
}

// A connection that comes back too late is closed.
func TestReturnToAClosedListener(t *testing.T) {
	s := serveInPlace(t, time.Hour, nil)
	c, handed := s.reserved()
	if err := s.HTTP().Close(); err != nil {
		t.Fatal(err)
	}
	s.http.Return(handed, nil)
	wantHangUp(t, c)
	await(t, "none is counted", func() bool { return s.Stats().HTTP == 0 })
}
