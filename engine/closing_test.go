package engine

import (
	"io"
	"testing"

	"github.com/gobwas/ws"

	"gorelay/internal/wsclient"
)

// What a client does, the close code that it is told, and the reason counted.
func TestCloseCodes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		send   []byte
		code   int
		reason string
	}{
		{"close", wsclient.CloseFrame(1000, "bye").Bytes(), 1000, "peer_closed"},
		{"close without a code", wsclient.Data(wsclient.OpClose, nil).Bytes(), 1005, "peer_closed"},
		{"close of an application", wsclient.CloseFrame(4999, "").Bytes(), 4999, "peer_closed"},
		{"close with half a code", wsclient.Data(wsclient.OpClose, []byte{3}).Bytes(), 1002, "protocol_error"},
		{"close with 1005", wsclient.CloseFrame(1005, "").Bytes(), 1002, "protocol_error"},
		{"close with code 0", wsclient.CloseFrame(0, "").Bytes(), 1002, "protocol_error"},
		{"close with a broken text", wsclient.CloseFrame(1000, "\xff").Bytes(), 1007, "invalid_utf8"},
		{"reserved opcode", wsclient.Data(3, nil).Bytes(), 1002, "protocol_error"},
		{"broken text", wsclient.Text("\xff").Bytes(), 1007, "invalid_utf8"},
		{"long message", wsclient.Text(string(make([]byte, 1001))).Bytes(), 1009, "message_too_big"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, scripted{}, func(o *Options) { o.MaxMessageBytes = 1000 })
			c := s.dial("a")
			// A frame behind the offence must not be acted on.
			if err := c.Send(append(tt.send, wsclient.Data(wsclient.OpPing, nil).Bytes()...)); err != nil {
				t.Fatal(err)
			}
			wantClose(t, c, tt.code)
			if err := c.ReadEnd(); err != nil {
				t.Error(err)
			}
			_ = c.Close()
			await(t, "gone", func() bool { return s.Stats().Open == 0 })
			if st := s.Stats(); st.Closed[tt.reason] != 1 || len(st.Closed) != 1 {
				t.Errorf("closed: %v, want one %s", st.Closed, tt.reason)
			}
		})
	}
}

// A peer that vanishes, by a FIN or by a reset.
func TestPeerThatVanishes(t *testing.T) {
	s := serve(t, scripted{}, nil)
	c := s.dial("a")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	await(t, "the first is gone", func() bool { return s.Stats().Closed["peer_gone"] == 1 })
	c = s.dial("b")
	if err := c.Reset(); err != nil {
		t.Fatal(err)
	}
	await(t, "the second is gone", func() bool { return s.Stats().Closed["peer_gone"] == 2 })
	s.send("a", "nobody", 0)
	s.send("b", "nobody", 0)
}

// A peer that is told of the close and ignores it does not keep its descriptor.
func TestPeerThatIgnoresTheClose(t *testing.T) {
	s := serve(t, scripted{}, nil)
	c := s.dial("a")
	c.Mute = true
	if err := c.Send([]byte{0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	wantClose(t, c, 1002)
	await(t, "its descriptor is free", func() bool { return s.descriptors() == 0 })
}

// descriptors is how many sockets the loops own.
func (s *server) descriptors() (n int) {
	for _, l := range s.loops {
		onLoop(l, func() { n += l.live })
	}
	return n
}

// A handler that panics ends its connection and nothing else.
func TestPanicOfTheHandler(t *testing.T) {
	s := serve(t, scripted{message: func(c *Conn, op ws.OpCode, p []byte) {
		if string(p) == "panic" {
			panic("as asked")
		}
		c.Reply(op, p)
	}}, func(o *Options) { o.Loops = 1 })
	bad, good := s.dial("bad"), s.dial("good")
	if err := bad.SendFrames(wsclient.Part(wsclient.OpText, []byte("pa")), wsclient.Data(wsclient.OpContinuation, []byte("nic")), wsclient.Text("more")); err != nil {
		t.Fatal(err)
	}
	wantClose(t, bad, 1011)
	if err := good.SendText("echo"); err != nil {
		t.Fatal(err)
	}
	wantText(t, good, "echo")
	if st := s.Stats(); st.Panics != 1 || st.Closed["internal_error"] != 1 {
		t.Errorf("panics %d, closed %v", st.Panics, st.Closed)
	}
}

// Past MaxMessageRate a client is closed with 1008.
func TestTooManyMessages(t *testing.T) {
	s := serve(t, scripted{}, func(o *Options) { o.MaxMessageRate = 5 })
	c := s.dial("a")
	var frames []wsclient.Frame
	for range 20 { // over two seconds of the clock, should they fall so
		frames = append(frames, wsclient.Text("x"))
	}
	if err := c.SendFrames(frames...); err != nil {
		t.Fatal(err)
	}
	wantClose(t, c, 1008)
	if st := s.Stats(); st.Closed["rate_limit"] != 1 {
		t.Errorf("closed: %v", st.Closed)
	}
}

// A peer that closes while its socket is full still gets the frame that it had
// in part, whole, and then the echo of its close.
func TestCloseOfAFullSocket(t *testing.T) {
	s := serve(t, scripted{}, nil)
	c := s.dialStalled("a")
	s.fill("a", s.conn("a"))
	if err := c.SendFrames(wsclient.CloseFrame(1000, "")); err != nil {
		t.Fatal(err)
	}
	await(t, "closed by the peer", func() bool { return s.Stats().Closed["peer_closed"] == 1 })
	c.Mute = true
	wantClose(t, c, 1000)
	if _, err := c.ReadFrame(); err != io.EOF {
		t.Errorf("behind the close: %v", err)
	}
}

// Fragments are work as well: a client cannot hide a flood in one message that
// never ends.
func TestFragmentsCountAgainstTheRate(t *testing.T) {
	s := serve(t, scripted{}, func(o *Options) { o.MaxMessageRate = 100 })
	c := s.dial("a")
	flood := wsclient.Part(wsclient.OpText, nil).Bytes()
	for range 1000 {
		flood = wsclient.Part(wsclient.OpContinuation, nil).Append(flood)
	}
	if err := c.Send(flood); err != nil {
		t.Fatal(err)
	}
	wantClose(t, c, 1008)
	if st := s.Stats(); st.Closed["rate_limit"] != 1 {
		t.Errorf("closed: %v", st.Closed)
	}
}

// What incomplete messages hold is bounded for all clients together, and
// forgotten with them.
func TestIncompleteMessagesAreBounded(t *testing.T) {
	const limit = 256 << 10
	s := serve(t, scripted{}, func(o *Options) {
		o.MaxTotalPendingBytes, o.MaxMessageBytes, o.MaxMessageRate = limit, 64<<10, 0
	})
	part := wsclient.Part(wsclient.OpBinary, make([]byte, 40<<10)).Bytes()
	for i := 0; s.Stats().Closed["overload"] == 0; i++ {
		if i > 2*limit/(40<<10) {
			t.Fatal("nobody is closed")
		}
		c := s.dial("a")
		if err := c.Send(part); err != nil {
			t.Fatal(err)
		}
		want := int64(i+1) * 40 << 10
		await(t, "the part is taken or its sender closed", func() bool {
			return s.partial.Load() == want || s.Stats().Closed["overload"] > 0
		})
	}
	await(t, "what is held is within the bound", func() bool { return s.partial.Load() <= limit })
}

// A handler that panics on a message of several fragments leaves nothing in the
// account of incomplete ones.
func TestPanicOnAFragmentedMessage(t *testing.T) {
	s := serve(t, scripted{message: func(*Conn, ws.OpCode, []byte) { panic("a handler's mistake") }}, nil)
	c := s.dial("a")
	if err := c.SendFrames(wsclient.Part(wsclient.OpText, []byte("hello"))); err != nil {
		t.Fatal(err)
	}
	await(t, "the part is held", func() bool { return s.partial.Load() == 5 })
	if err := c.SendFrames(wsclient.Data(wsclient.OpContinuation, []byte("x"))); err != nil {
		t.Fatal(err)
	}
	wantClose(t, c, 1011)
	if held := s.partial.Load(); held != 0 {
		t.Errorf("%d bytes are still counted", held)
	}
}

// Once both close frames have passed the server lets go, though the peer keeps
// its side of the TCP connection (RFC 6455 section 7.1.1).
func TestCloseReplyEndsTheWait(t *testing.T) {
	for _, reply := range []struct {
		name string
		in   []wsclient.Frame
		want bool
	}{
		{"a close frame", []wsclient.Frame{wsclient.Data(wsclient.OpClose, []byte{3, 233})}, true},
		{"behind messages", []wsclient.Frame{wsclient.Text("a"), wsclient.Part(wsclient.OpText, []byte("b")), wsclient.Data(wsclient.OpClose, nil)}, true},
		{"a violation", []wsclient.Frame{{Fin: true, Op: 5, Masked: true}}, true},
		{"messages alone", []wsclient.Frame{wsclient.Text("a"), wsclient.Data(wsclient.OpPing, nil)}, false},
	} {
		t.Run(reply.name, func(t *testing.T) {
			c, _ := bareConn()
			c.loop.eng.opts = DefaultOptions()
			c.state = stateClosing
			got := false
			for _, b := range wsclient.Join(reply.in...) { // byte by byte
				got = got || c.findClose([]byte{b})
			}
			if got != reply.want {
				t.Errorf("found: %v, want %v", got, reply.want)
			}
			if held := c.loop.eng.partial.Load(); got && held != 0 {
				t.Errorf("%d bytes are still counted", held)
			}
		})
	}
}

// What comes behind a violation is not looked at for a close frame: where a frame
// begins in it is not known.
func TestNothingIsFollowedAfterAViolation(t *testing.T) {
	s := serve(t, scripted{}, nil)
	c := s.dial("a")
	conn := s.conn("a")
	violation := wsclient.Data(3, nil).Bytes()
	if err := c.Send(violation); err != nil {
		t.Fatal(err)
	}
	await(t, "it is closing", func() bool { return conn.is(stateClosing) })
	c.Mute = true
	if err := c.SendFrames(wsclient.Data(wsclient.OpClose, nil)); err != nil {
		t.Fatal(err)
	}
	if err := wsclient.WaitTaken(c); err != nil {
		t.Fatal(err)
	}
	onLoop(conn.loop, func() {
		if conn.peerClosed || conn.in != nil {
			t.Error("a close frame was found behind a violation")
		}
	})
	wantClose(t, c, 1002)
}

// A second that comes round again after an hour is another one, and a limit
// however large counts.
func TestRateOfASecond(t *testing.T) {
	for _, later := range []int64{1, 4096, 1 << 20, 1<<32 - 1} {
		var r rate
		for range 1000 {
			r.add(5)
		}
		if n := r.add(5 + later); n != 1 {
			t.Errorf("the first frame of a second %d seconds later counts as %d", later, n)
		}
	}
	r := rate{7, 1<<20 + 3}
	if n := r.add(7); n != 1<<20+4 {
		t.Errorf("%d frames", n)
	}
}

// Past the bound of incomplete messages, one that completes is not who pays.
func TestCompletingIsNeverTooMuch(t *testing.T) {
	c, _ := bareConn()
	e := c.loop.eng
	e.opts.MaxTotalPendingBytes = 100
	e.partial.Store(500)
	if r := (&reader{message: make([]byte, 10)}); c.account(r, 0) {
		t.Error("more is let in past the bound")
	}
	if r := new(reader); !c.account(r, 10) {
		t.Error("who gives memory back is told that it is too much")
	}
	if n := e.partial.Load(); n != 500 {
		t.Errorf("%d bytes are counted", n)
	}
}
