package engine

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"gorelay/internal/wsclient"
)

// segmentsOut is how many segments with data c's socket has sent.
func segmentsOut(t *testing.T, c *Conn) uint32 {
	t.Helper()
	info, err := unix.GetsockoptTCPInfo(int(c.fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		t.Fatal(err)
	}
	return info.Data_segs_out
}

// What comes in at once is answered at once: a flood of pings is not as many
// writes.
func TestRepliesOfATurnGoOutTogether(t *testing.T) {
	const count = 1000
	s := serve(t, scripted{}, func(o *Options) { o.PingInterval, o.MaxMessageRate = 0, 0 })
	client := s.dial("a")
	c := s.conn("a")
	var flood []byte
	for i := range count {
		flood = append(flood, plainMask(wsclient.Data(wsclient.OpPing, fmt.Appendf(nil, "%03d", i)))...)
	}
	before, framesBefore := segmentsOut(t, c), s.Stats().FramesOut
	onLoop(c.loop, func() { c.feed(flood) })
	if n := segmentsOut(t, c) - before; n != 1 {
		t.Errorf("%d segments for %d pongs", n, count)
	}
	for i := range count {
		f, err := client.ReadFrame()
		if want := fmt.Sprintf("%03d", i); err != nil || f.Op != wsclient.OpPong || string(f.Payload) != want {
			t.Fatalf("op %d, %q, %v instead of pong %q", f.Op, f.Payload, err, want)
		}
	}
	if n := s.Stats().FramesOut - framesBefore; n != count {
		t.Errorf("%d frames counted, not %d", n, count)
	}
}

// Whatever ends a connection, what came before it in the same turn is answered.
func TestRepliesGoOutBeforeTheEnd(t *testing.T) {
	for _, tt := range []struct {
		name    string
		offence wsclient.Frame
		code    int
	}{
		{"close", wsclient.CloseFrame(1000, ""), 1000},
		{"protocol error", wsclient.Data(3, nil), 1002},
		{"broken text", wsclient.Text("\xff"), 1007},
		{"panic", wsclient.Text("panic"), 1011},
		{"rate", wsclient.Text("too many"), 1008},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, scripted{message: func(_ *Conn, _ ws.OpCode, p []byte) {
				if string(p) == "panic" {
					panic("as asked")
				}
			}}, func(o *Options) {
				if o.MaxMessageRate = 0; tt.name == "rate" {
					o.MaxMessageRate = 2
				}
			})
			client := s.dial("a")
			c := s.conn("a")
			ping := wsclient.Data(wsclient.OpPing, []byte("first"))
			data := append(plainMask(ping), plainMask(ping)...)
			for range 3 { // the second of the rate may end between them
				data = append(data, plainMask(tt.offence)...)
			}
			onLoop(c.loop, func() {
				defer c.rescue()
				c.feed(data)
			})
			for range 2 {
				if f, err := client.ReadFrame(); err != nil || f.Op != wsclient.OpPong || string(f.Payload) != "first" {
					t.Fatalf("op %d, %q, %v instead of a pong", f.Op, f.Payload, err)
				}
			}
			wantClose(t, client, tt.code)
		})
	}
}

// Replies that do not fit in the socket wait, whole and in order, and count as
// waiting until they are gone.
func TestRepliesThatDoNotFitWait(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 2))
	var want [][]byte
	s := serve(t, scripted{message: func(c *Conn, op ws.OpCode, p []byte) {
		c.Reply(op, bytes.Repeat(p, 1+rng.IntN(2000)))
	}}, func(o *Options) {
		o.PingInterval, o.MaxMessageRate, o.MaxPendingBytes, o.Loops = 0, 0, 64<<20, 1
	})
	raw := s.dialRaw("a", 4096)
	c := s.conn("a")
	expected := rand.New(rand.NewPCG(4, 2))
	for i := 0; !s.blocked(c) || i%7 != 0; i++ { // some turns more behind the one that fills it
		if i > 1000 {
			t.Fatal("the socket takes everything")
		}
		var data []byte
		for j := range 5 {
			text := fmt.Sprintf("%d.%d ", i, j)
			data = append(data, plainMask(wsclient.Text(text))...)
			want = append(want, textFrame(strings.Repeat(text, 1+expected.IntN(2000))).wire)
		}
		onLoop(c.loop, func() { c.feed(data) })
	}
	if s.Stats().WaitingBytes == 0 {
		t.Error("nothing is counted as waiting")
	}
	all := bytes.Join(want, nil)
	got := make([]byte, len(all))
	if n, err := io.ReadFull(raw, got); err != nil {
		t.Fatalf("after %d of %d bytes: %v", n, len(all), err)
	}
	if !bytes.Equal(got, all) {
		t.Error("the bytes are not those of the replies, in their order")
	}
	await(t, "nothing waits", func() bool { return s.Stats().WaitingBytes == 0 })
	await(t, "every reply is counted", func() bool { return s.Stats().FramesOut == int64(len(want)) })
	if d := s.Stats().Dropped; len(d) != 0 {
		t.Errorf("dropped: %v", d)
	}
}
