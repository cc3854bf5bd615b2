package test

import (
	"bytes"
	"fmt"
	"regexp"
	"testing"

	"gorelay/internal/relaytest"
	"gorelay/internal/wsclient"
)

// echoLimit is the largest message of the echo server in these tests, in bytes.
const echoLimit = 1 << 20

// echoServer is the engine behind its echo handler.
type echoServer struct {
	*relaytest.Process
	wsclient.Dialer
}

var echoLine = regexp.MustCompile(`listening on ws://(\S+)/`)

func startEcho(t *testing.T) echoServer {
	t.Helper()
	p := relaytest.Run(t, relaytest.Command{
		File: relaytest.Build(t, "gorelay/examples/echo"),
		Args: []string{"-addr", "127.0.0.1:0", "-max-message", fmt.Sprint(echoLimit)},
		Dir:  t.TempDir(),
	})
	p.WaitLog("listening on ws://")
	return echoServer{p, wsclient.Dialer{Addr: echoLine.FindStringSubmatch(p.Log())[1]}}
}

// dial opens a WebSocket that ends with the test.
func (e echoServer) dial(t testing.TB) *wsclient.Conn {
	t.Helper()
	c, err := e.Dial("/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// wantFrame reads the next frame and wants it final and exactly so.
func wantFrame(t testing.TB, c *wsclient.Conn, op byte, payload []byte) {
	t.Helper()
	f, err := c.ReadFrame()
	if err != nil {
		t.Fatalf("read: %v, want opcode %d with %.60q", err, op, payload)
	}
	if f.Op != op || !f.Fin || !bytes.Equal(f.Payload, payload) {
		t.Fatalf("got opcode %d fin %v, %d bytes %.60q; want opcode %d, %d bytes %.60q",
			f.Op, f.Fin, len(f.Payload), f.Payload, op, len(payload), payload)
	}
}

// stillEchoes shows that the connection is open and in step.
func stillEchoes(t testing.TB, c *wsclient.Conn) {
	t.Helper()
	if err := c.SendText("still here"); err != nil {
		t.Fatal(err)
	}
	wantFrame(t, c, wsclient.OpText, []byte("still here"))
}

// exchange is what a client sends and what it gets for it.
type exchange struct {
	name string
	send []wsclient.Frame
	want []wsclient.Frame // only Op and Payload count
}

func text(s string) wsclient.Frame           { return wsclient.Text(s) }
func part(op byte, s string) wsclient.Frame  { return wsclient.Part(op, []byte(s)) }
func final(op byte, s string) wsclient.Frame { return wsclient.Data(op, []byte(s)) }

// exchanges are legal conversations with answers that are known.
func exchanges() []exchange {
	const cont, txt, bin, ping, pong = wsclient.OpContinuation, wsclient.OpText, wsclient.OpBinary, wsclient.OpPing, wsclient.OpPong
	frames := func(f ...wsclient.Frame) []wsclient.Frame { return f }
	zeroMask, onesMask, unmaskedPong := text("zero"), text("ones"), final(pong, "")
	zeroMask.Mask = [4]byte{}
	onesMask.Mask = [4]byte{0xff, 0xff, 0xff, 0xff}
	return []exchange{
		{"text", frames(text("Hello")), frames(text("Hello"))},
		{"empty text", frames(text("")), frames(text(""))},
		{"empty binary", frames(final(bin, "")), frames(final(bin, ""))},
		{"binary that is not UTF-8", frames(final(bin, "\xff\xfe\x00")), frames(final(bin, "\xff\xfe\x00"))},
		{"mask of zeros", frames(zeroMask), frames(text("zero"))},
		{"mask of ones", frames(onesMask), frames(text("ones"))},
		{"two messages", frames(text("a"), final(bin, "b")), frames(text("a"), final(bin, "b"))},
		{"two fragments", frames(part(txt, "Hel"), final(cont, "lo")), frames(text("Hello"))},
		{"three fragments", frames(part(bin, "a"), part(cont, "b"), final(cont, "c")), frames(final(bin, "abc"))},
		{"empty fragments", frames(part(txt, ""), part(cont, ""), final(cont, "")), frames(text(""))},
		{"empty first and last", frames(part(txt, ""), part(cont, "x"), final(cont, "")), frames(text("x"))},
		{"ping", frames(final(ping, "")), frames(final(pong, ""))},
		{"ping with payload", frames(final(ping, "p\xff\x00")), frames(final(pong, "p\xff\x00"))},
		{"ping of 125", frames(final(ping, repeat("p", 125))), frames(final(pong, repeat("p", 125)))},
		{"ping 1, 2, 3", frames(final(ping, "1"), final(ping, "2"), final(ping, "3")), frames(final(pong, "1"), final(pong, "2"), final(pong, "3"))},
		{"pong unasked", frames(unmaskedPong, final(pong, "x"), text("a")), frames(text("a"))},
		{"ping inside a message", frames(part(txt, "a"), final(ping, "p"), final(cont, "b")), frames(final(pong, "p"), text("ab"))},
		{"pings between all fragments", frames(final(ping, "0"), part(txt, "a"), final(ping, "1"), part(cont, "b"), final(ping, "2"), final(pong, "x"), final(cont, "c"), final(ping, "3")),
			frames(final(pong, "0"), final(pong, "1"), final(pong, "2"), text("abc"), final(pong, "3"))},
		{"fragments, then a message", frames(part(bin, "a"), final(cont, "b"), text("c")), frames(final(bin, "ab"), text("c"))},
		{"code point across fragments", frames(part(txt, "\xe6\x97"), final(cont, "\xa5")), frames(text("日"))},
		{"code point across three fragments and a ping", frames(part(txt, "\xf0"), part(cont, "\x9f\x98"), final(ping, ""), final(cont, "\x80")), frames(final(pong, ""), text("😀"))},
		{"close", frames(wsclient.CloseFrame(1000, "bye")), frames(wsclient.CloseFrame(1000, "bye"))},
		{"message, then close", frames(text("a"), wsclient.CloseFrame(1001, "")), frames(text("a"), wsclient.CloseFrame(1001, ""))},
		{"close inside a message", frames(part(txt, "a"), wsclient.CloseFrame(1000, "")), frames(wsclient.CloseFrame(1000, ""))},
	}
}

func (x exchange) verify(t testing.TB, c *wsclient.Conn) {
	t.Helper()
	for _, f := range x.want {
		payload := f.Payload
		if f.Op == wsclient.OpClose { // the code is echoed, the reason may be
			got, err := c.ReadFrame()
			if err != nil || got.Op != f.Op || !bytes.HasPrefix(got.Payload, payload[:2]) {
				t.Fatalf("got opcode %d %q %v, want close %q", got.Op, got.Payload, err, payload)
			}
			if err := c.ReadEnd(); err != nil {
				t.Fatal(err)
			}
			return
		}
		wantFrame(t, c, f.Op, payload)
	}
	stillEchoes(t, c)
}

// TestExchangesInOneSegment sends each conversation in one write.
func TestExchangesInOneSegment(t *testing.T) {
	e := startEcho(t)
	for _, x := range exchanges() {
		t.Run(x.name, func(t *testing.T) {
			c := e.dial(t)
			defer c.Close()
			if err := c.SendFrames(x.send...); err != nil {
				t.Fatal(err)
			}
			x.verify(t, c)
		})
	}
}

// TestExchangesBehindHandshake sends each conversation in the same segment as
// the handshake.
func TestExchangesBehindHandshake(t *testing.T) {
	e := startEcho(t)
	for _, x := range exchanges() {
		t.Run(x.name, func(t *testing.T) {
			c, err := e.DialRaw(append(wsclient.Handshake("/", e.Addr), wsclient.Join(x.send...)...))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if r, err := c.ReadResponse(); err != nil || r.Status != 101 {
				t.Fatalf("handshake: %+v %v", r, err)
			}
			x.verify(t, c)
		})
	}
}

// TestExchangesSplitAtEveryByte sends each conversation in two pieces, for
// every place to cut it: the server has read the first piece before the second
// one is sent. A long message makes sure of headers of every size.
func TestExchangesSplitAtEveryByte(t *testing.T) {
	e := startEcho(t)
	long := repeat("x", 126)
	all := append(exchanges(), exchange{"length in 16 bits", []wsclient.Frame{text(long)}, []wsclient.Frame{text(long)}})
	for _, x := range all {
		t.Run(x.name, func(t *testing.T) {
			wire := wsclient.Join(x.send...)
			var conns []*wsclient.Conn
			for cut := 1; cut < len(wire); cut++ {
				c := e.dial(t)
				if err := c.Send(wire[:cut]); err != nil {
					t.Fatal(err)
				}
				conns = append(conns, c)
			}
			if err := wsclient.WaitTaken(conns...); err != nil {
				t.Fatal(err)
			}
			for i, c := range conns {
				if err := c.Send(wire[i+1:]); err != nil {
					t.Fatal(err)
				}
			}
			for _, c := range conns {
				x.verify(t, c)
				c.Close()
			}
		})
	}
}

// TestExchangesByteByByte sends everything in pieces of one byte, handshake too.
func TestExchangesByteByByte(t *testing.T) {
	e := startEcho(t)
	wire := wsclient.Handshake("/", e.Addr)
	x := exchange{name: "all", send: []wsclient.Frame{
		part(wsclient.OpText, "\xe6\x97"), final(wsclient.OpPing, "p"), final(wsclient.OpContinuation, "\xa5"), final(wsclient.OpBinary, repeat("b", 126)),
	}, want: []wsclient.Frame{final(wsclient.OpPong, "p"), text("日"), final(wsclient.OpBinary, repeat("b", 126))}}
	wire = append(wire, wsclient.Join(x.send...)...)
	c, err := e.DialRaw(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SendSlowly(wire); err != nil {
		t.Fatal(err)
	}
	if r, err := c.ReadResponse(); err != nil || r.Status != 101 {
		t.Fatalf("handshake: %+v %v", r, err)
	}
	x.verify(t, c)
}

// TestManyFramesInOneSegment checks order and completeness of a full segment.
func TestManyFramesInOneSegment(t *testing.T) {
	const messages = 2000
	e := startEcho(t)
	c := e.dial(t)
	var wire []byte
	for i := range messages {
		wire = text(fmt.Sprintf("m%d", i)).Append(wire)
	}
	if err := c.Send(wire); err != nil {
		t.Fatal(err)
	}
	for i := range messages {
		wantFrame(t, c, wsclient.OpText, fmt.Appendf(nil, "m%d", i))
	}
	stillEchoes(t, c)
}
