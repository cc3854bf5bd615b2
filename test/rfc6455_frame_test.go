package test

import (
	"fmt"
	"math"
	"testing"

	"gorelay/internal/wsclient"
)

// lengths are payload lengths around every border of section 5.2, and the
// largest message that the echo server takes.
var lengths = []int{0, 1, 2, 3, 4, 5, 7, 8, 9, 124, 125, 126, 127, 128, 255, 256, 4095, 4096, 4097, 65534, 65535, 65536, 65537, 1<<17 + 1, echoLimit}

func TestLengths(t *testing.T) {
	e := startEcho(t)
	c := e.dial(t)
	for _, n := range lengths {
		payload := make([]byte, n)
		for i := range payload {
			payload[i] = 'a' + byte(i*7%26)
		}
		for _, op := range []byte{wsclient.OpText, wsclient.OpBinary} {
			t.Run(fmt.Sprintf("%d as opcode %d", n, op), func(t *testing.T) {
				if err := c.SendFrames(wsclient.Data(op, payload)); err != nil {
					t.Fatal(err)
				}
				wantFrame(t, c, op, payload)
			})
		}
	}
	t.Run("in fragments of 1000", func(t *testing.T) {
		payload := []byte(repeat("0123456789", echoLimit/10))
		var wire []byte
		op := wsclient.OpText
		for at := 0; at < len(payload); at += 1000 {
			wire = wsclient.Part(op, payload[at:min(at+1000, len(payload))]).Append(wire)
			op = wsclient.OpContinuation
		}
		if err := c.Send(wsclient.Data(wsclient.OpContinuation, nil).Append(wire)); err != nil {
			t.Fatal(err)
		}
		wantFrame(t, c, wsclient.OpText, payload)
	})
}

// broken is a conversation that ends in a close frame with one of the codes.
type broken struct {
	name  string
	send  []wsclient.Frame
	codes []int
}

// brokenFrames are the faults of sections 5.1 to 5.5.
func brokenFrames() []broken {
	const cont, txt, bin = wsclient.OpContinuation, wsclient.OpText, wsclient.OpBinary
	protocol := []int{1002}
	tooBig := []int{1009}
	var all []broken
	add := func(name string, codes []int, send ...wsclient.Frame) { all = append(all, broken{name, send, codes}) }

	for _, op := range []byte{txt, bin, cont, wsclient.OpPing, wsclient.OpPong, wsclient.OpClose} {
		for _, payload := range []string{"", "\x03\xe8data"} {
			f := final(op, payload)
			f.Masked = false
			if op == cont {
				add(fmt.Sprintf("unmasked continuation %d bytes", len(payload)), protocol, part(txt, "a"), f)
				continue
			}
			add(fmt.Sprintf("unmasked opcode %d, %d bytes", op, len(payload)), protocol, f)
		}
	}
	for rsv := byte(1); rsv <= 7; rsv++ {
		for _, op := range []byte{txt, bin, wsclient.OpPing, wsclient.OpPong, wsclient.OpClose} {
			f := final(op, "")
			f.RSV = rsv
			add(fmt.Sprintf("reserved bits %03b on opcode %d", rsv, op), protocol, f)
		}
		f := final(cont, "b")
		f.RSV = rsv
		add(fmt.Sprintf("reserved bits %03b on a continuation", rsv), protocol, part(txt, "a"), f)
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		add(fmt.Sprintf("reserved opcode %d", op), protocol, final(op, ""))
		add(fmt.Sprintf("reserved opcode %d with payload", op), protocol, final(op, "x"))
		add(fmt.Sprintf("reserved opcode %d inside a message", op), protocol, part(txt, "a"), final(op, ""))
	}
	for _, op := range []byte{wsclient.OpPing, wsclient.OpPong, wsclient.OpClose} {
		add(fmt.Sprintf("control opcode %d of 126", op), protocol, final(op, "\x03\xe8"+repeat("x", 124)))
		add(fmt.Sprintf("control opcode %d of 65536", op), protocol, final(op, "\x03\xe8"+repeat("x", 65534)))
		add(fmt.Sprintf("control opcode %d in fragments", op), protocol, part(op, ""), final(cont, ""))
	}
	add("continuation of nothing", protocol, final(cont, "x"))
	add("continuation of nothing, not final", protocol, part(cont, "x"))
	add("continuation after a whole message", protocol, text(""), final(cont, "x"))
	add("continuation after the last fragment", protocol, part(txt, "a"), final(cont, "b"), final(cont, "c"))
	add("text inside a message", protocol, part(txt, "a"), text("b"))
	add("binary inside a message", protocol, part(txt, "a"), final(bin, "b"))
	add("new fragments inside a message", protocol, part(bin, "a"), part(bin, "b"))

	// Section 5.2: the shortest form must be used; the top bit must be zero.
	form := func(op byte, f wsclient.LengthForm, n uint64) wsclient.Frame {
		frame := final(op, "")
		frame.Form, frame.Declared = f, n
		frame.Payload = make([]byte, min(n, 4))
		return frame
	}
	for _, n := range []uint64{0, 4} {
		add(fmt.Sprintf("length %d in 16 bits", n), protocol, form(bin, wsclient.Form16, n))
		add(fmt.Sprintf("length %d in 64 bits", n), protocol, form(bin, wsclient.Form64, n))
		add(fmt.Sprintf("ping length %d in 16 bits", n), protocol, form(wsclient.OpPing, wsclient.Form16, n))
	}
	add("length 125 in 16 bits", protocol, form(bin, wsclient.Form16, 125))
	add("length 126 in 64 bits", protocol, form(bin, wsclient.Form64, 126))
	add("length 65535 in 64 bits", protocol, form(bin, wsclient.Form64, 65535))
	add("length 2^63", []int{1002, 1009}, form(bin, wsclient.Form64, 1<<63))
	add("length 2^64-1", []int{1002, 1009}, form(txt, wsclient.Form64, math.MaxUint64))
	add("length 2^63-1", tooBig, form(bin, wsclient.Form64, math.MaxInt64))
	add("length 2^32", tooBig, form(bin, wsclient.Form64, 1<<32))
	add("one past the limit", tooBig, form(bin, wsclient.Form64, echoLimit+1))
	add("fragments past the limit", tooBig, wsclient.Part(bin, make([]byte, echoLimit)), final(cont, "x"))
	add("declared fragments past the limit", tooBig, wsclient.Part(bin, make([]byte, 10)), form(cont, wsclient.Form64, echoLimit-9))
	add("lengths that overflow when added", []int{1002, 1009}, wsclient.Part(bin, make([]byte, 10)), form(cont, wsclient.Form64, math.MaxInt64))
	return all
}

// TestBrokenFrames wants the right code, the end of the connection, and
// nothing of what was sent behind the fault.
func TestBrokenFrames(t *testing.T) {
	e := startEcho(t)
	for _, b := range brokenFrames() {
		t.Run(b.name, func(t *testing.T) {
			c := e.dial(t)
			defer c.Close()
			wire := wsclient.Join(b.send...)
			if err := c.Send(append(wire, text("behind").Bytes()...)); err != nil {
				t.Fatal(err)
			}
			// Messages before the fault are echoed.
			for {
				f, err := c.ReadFrame()
				if err != nil {
					t.Fatalf("read: %v, want close %v", err, b.codes)
				}
				if f.Op != wsclient.OpClose {
					if string(f.Payload) == "behind" {
						t.Fatal("a message behind the fault was echoed")
					}
					continue
				}
				wantCloseCode(t, f, b.codes)
				break
			}
			if err := c.ReadEnd(); err != nil {
				t.Fatal(err)
			}
		})
	}
	stillEchoes(t, e.dial(t))
}

func wantCloseCode(t *testing.T, f wsclient.Frame, codes []int) {
	t.Helper()
	ce, err := wsclient.ParseClose(f.Payload)
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range codes {
		if ce.Code == code {
			return
		}
	}
	t.Fatalf("got %v, want one of %v", ce, codes)
}

// TestBrokenHeaderIsJudgedEarly: a header that no payload can mend is refused
// without waiting for the payload.
func TestBrokenHeaderIsJudgedEarly(t *testing.T) {
	e := startEcho(t)
	for _, b := range []broken{
		{"2^62 bytes", []wsclient.Frame{{Fin: true, Op: 2, Masked: true, Form: wsclient.Form64, Declared: 1 << 62}}, []int{1009}},
		{"reserved opcode", []wsclient.Frame{{Fin: true, Op: 3, Masked: true, Form: wsclient.Form7, Declared: 9}}, []int{1002}},
		{"long ping", []wsclient.Frame{{Fin: true, Op: 9, Masked: true, Form: wsclient.Form16, Declared: 126}}, []int{1002}},
		{"unmasked", []wsclient.Frame{{Fin: true, Op: 1, Form: wsclient.Form7, Declared: 9}}, []int{1002}},
	} {
		t.Run(b.name, func(t *testing.T) {
			c := e.dial(t)
			defer c.Close()
			if err := c.SendFrames(b.send...); err != nil {
				t.Fatal(err)
			}
			wantClose(t, c, b.codes...)
		})
	}
}
