package wsclient

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// serve runs fn for one accepted connection and waits for it at the end.
func serve(t *testing.T, fn func(net.Conn)) Dialer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		fn(nc)
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return Dialer{Addr: ln.Addr().String()}
}

const accepted = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + Accept + "\r\n\r\n"

func TestAcceptFor(t *testing.T) {
	if got := AcceptFor(Key); got != Accept {
		t.Fatalf("AcceptFor = %q, RFC 6455 says %q", got, Accept)
	}
}

func TestFrameOnTheWire(t *testing.T) {
	// The examples of RFC 6455 section 5.7, and headers that lie.
	for _, c := range []struct {
		name string
		f    Frame
		want []byte
	}{
		{"masked hello", Text("Hello"), []byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}},
		{"unmasked fragment", Frame{Op: OpText, Payload: []byte("Hel")}, []byte{0x01, 0x03, 0x48, 0x65, 0x6c}},
		{"reserved bits", Frame{Fin: true, RSV: 7, Op: 0xf}, []byte{0xff, 0x00}},
		{"long form", Frame{Form: Form16, Declared: 5}, []byte{0x00, 126, 0, 5}},
		{"huge", Frame{Masked: true, Form: Form64, Declared: 1 << 63}, []byte{0x00, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.f.Bytes(); !bytes.Equal(got, c.want) {
				t.Errorf("got % x, want % x", got, c.want)
			}
		})
	}
}

func TestReadsStrictly(t *testing.T) {
	for _, c := range []struct {
		name string
		wire []byte
	}{
		{"masked", Text("a").Bytes()},
		{"reserved bit", Frame{Fin: true, RSV: 1, Op: OpText}.Bytes()},
		{"reserved opcode", Frame{Fin: true, Op: 3}.Bytes()},
		{"long form", Frame{Fin: true, Op: OpText, Form: Form64, Declared: 3, Payload: []byte("abc")}.Bytes()},
		{"fragmented ping", Frame{Op: OpPing}.Bytes()},
		{"lone continuation", Frame{Fin: true, Op: OpContinuation}.Bytes()},
		{"bad UTF-8", Frame{Fin: true, Op: OpText, Payload: []byte{0xff}}.Bytes()},
		{"close of one byte", Frame{Fin: true, Op: OpClose, Payload: []byte{3}}.Bytes()},
		{"close 1005", Frame{Fin: true, Op: OpClose, Payload: []byte{3, 237}}.Bytes()},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := serve(t, func(nc net.Conn) { nc.Write(c.wire) })
			conn, err := d.DialRaw(nil)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _, err = conn.ReadMessage()
			var broken ViolationError
			if !errors.As(err, &broken) {
				t.Fatalf("got %v, want a violation", err)
			}
		})
	}
}

func TestDialAndMessages(t *testing.T) {
	d := serve(t, func(nc net.Conn) {
		in := bufio.NewReader(nc)
		if _, err := http.ReadRequest(in); err != nil {
			t.Error(err)
		}
		// Answer and frames in one segment; then the client's two answers.
		wire := []byte(accepted)
		wire = Frame{Op: OpText, Payload: []byte("a")}.Append(wire)
		wire = Frame{Fin: true, Op: OpPing, Payload: []byte("p")}.Append(wire)
		wire = Frame{Fin: true, Op: OpContinuation, Payload: []byte("b")}.Append(wire)
		wire = Frame{Fin: true, Op: OpClose, Payload: []byte{3, 232, 'x'}}.Append(wire)
		nc.Write(wire)
		want := Join(Data(OpPong, []byte("p")), CloseFrame(1000, "x"))
		got := make([]byte, len(want))
		if _, err := io.ReadFull(in, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("client answered % x (%v), want % x", got, err, want)
		}
	})
	c, err := d.Dial("/ws", "Origin: https://a.example")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if op, p, err := c.ReadMessage(); err != nil || op != OpText || string(p) != "ab" {
		t.Fatalf("got %d %q %v", op, p, err)
	}
	var ce *CloseError
	if _, _, err := c.ReadMessage(); !errors.As(err, &ce) || ce.Code != 1000 || ce.Reason != "x" {
		t.Fatalf("got %v, want close 1000", err)
	}
	if err := c.ReadEnd(); err != nil {
		t.Fatal(err)
	}
}

func TestRefused(t *testing.T) {
	d := serve(t, func(nc net.Conn) {
		http.ReadRequest(bufio.NewReader(nc))
		io.WriteString(nc, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
	})
	_, err := d.Dial("/ws")
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Response.Status != 403 || string(refused.Response.Body) != "no" {
		t.Fatalf("got %v, want 403", err)
	}
}

func TestWaitTaken(t *testing.T) {
	read, done := make(chan struct{}), make(chan struct{})
	d := serve(t, func(nc net.Conn) {
		<-read
		io.ReadFull(nc, make([]byte, 5))
		<-done
	})
	c, err := d.DialRaw([]byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	defer close(done)
	diag, err := openSockDiag()
	if err != nil {
		t.Fatal(err)
	}
	defer diag.close()
	if taken, err := diag.taken(c); taken || err != nil {
		t.Errorf("unread bytes count as taken: %v", err)
	}
	local, remote := c.tcp.LocalAddr(), c.tcp.RemoteAddr()
	if unread, _, err := diag.queues(remote, local); unread != 5 || err != nil {
		t.Errorf("%d bytes are unread (%v), want 5", unread, err)
	}
	close(read)
	if err := WaitTaken(c); err != nil {
		t.Error(err)
	}
}

func TestSource(t *testing.T) {
	d := serve(t, func(nc net.Conn) { io.WriteString(nc, nc.RemoteAddr().String()) })
	d.Source = "127.0.0.77"
	c, err := d.DialRaw(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !strings.HasPrefix(c.LocalAddr(), "127.0.0.77:") {
		t.Errorf("connected from %s", c.LocalAddr())
	}
}
