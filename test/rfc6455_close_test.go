package test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"testing"

	"gorelay/internal/wsclient"
)

// closeRows are the payloads of a close frame and the code that they earn;
// code 0 is an empty answer or 1000.
func closeRows() []broken {
	var all []broken
	add := func(name, payload string, codes ...int) {
		all = append(all, broken{name, []wsclient.Frame{final(wsclient.OpClose, payload)}, codes})
	}
	payload := func(code int, reason string) string { return string([]byte{byte(code >> 8), byte(code)}) + reason }

	add("empty", "", 1005, 1000)
	add("one byte", "\x03", 1002)
	// Section 7.4 and the registry of RFC 6455 section 11.7.
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		add(fmt.Sprint(code), payload(code, ""), code)
		add(fmt.Sprint(code, " with a reason"), payload(code, "r"), code)
	}
	// Registered after the RFC: known or not, both are right.
	for _, code := range []int{1012, 1013, 1014} {
		add(fmt.Sprint(code), payload(code, ""), code, 1002)
	}
	for _, code := range []int{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 9999, 32768, 65535} {
		add(fmt.Sprint(code), payload(code, ""), 1002)
		add(fmt.Sprint(code, " with a reason"), payload(code, "r"), 1002)
	}
	add("reason of 123", payload(1000, repeat("r", 123)), 1000)
	add("reason in UTF-8", payload(1000, "tschüß 日本 😀"), 1000)
	add("reason not UTF-8", payload(1000, "\xff"), 1007)
	add("reason with a surrogate", payload(1000, "a\xed\xa0\x80"), 1007)
	add("reason cut off", payload(1000, "\xe6\x97"), 1007)
	return all
}

func TestCloseFromClient(t *testing.T) {
	e := startEcho(t)
	for _, row := range closeRows() {
		for _, behind := range []string{"", "behind"} {
			t.Run(row.name+" "+behind, func(t *testing.T) {
				c := e.dial(t)
				defer c.Close()
				send := row.send
				if behind != "" { // in the same segment; never answered
					send = append(slices.Clone(send), final(wsclient.OpPing, behind), text(behind))
				}
				if err := c.SendFrames(send...); err != nil {
					t.Fatal(err)
				}
				f, err := c.ReadFrame()
				if err != nil || f.Op != wsclient.OpClose {
					t.Fatalf("got opcode %d %q %v, want close", f.Op, f.Payload, err)
				}
				wantCloseCode(t, f, row.codes)
				// The server ends the TCP connection first (section 7.1.1),
				// in order where it has read all that was sent.
				_, err = c.ReadFrame()
				if !errors.Is(err, io.EOF) && (behind == "" || !errors.Is(err, syscall.ECONNRESET)) {
					t.Errorf("after the close: %v, want the end", err)
				}
			})
		}
	}
}

// TestCloseFromServer stops the server: each client gets 1001, answers, and
// sees the connection end; a client that does not answer cannot hold it up.
func TestCloseFromServer(t *testing.T) {
	e := startEcho(t)
	polite, mute := e.dial(t), e.dial(t)
	mute.Mute = true
	stillEchoes(t, polite)
	stillEchoes(t, mute)
	e.Signal(syscall.SIGTERM)
	wantClose(t, polite, 1001)
	wantClose(t, mute, 1001)
	if code := e.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestCloseAfterFault: a peer that goes on after the server's close frame
// gets nothing more, and the connection ends.
func TestCloseAfterFault(t *testing.T) {
	e := startEcho(t)
	c := e.dial(t)
	if err := c.SendFrames(final(3, "")); err != nil {
		t.Fatal(err)
	}
	f, err := c.ReadFrame()
	if err != nil || f.Op != wsclient.OpClose {
		t.Fatalf("got opcode %d %v, want close", f.Op, err)
	}
	wantCloseCode(t, f, []int{1002})
	// The writes may fail, for the connection may be gone.
	_ = c.SendFrames(text("late"), final(wsclient.OpPing, "late"))
	if err := c.ReadEnd(); err != nil {
		t.Fatal(err)
	}
}

// TestEndWithoutClose: a FIN or a reset where a frame should be, or inside
// one, frees the connection.
func TestEndWithoutClose(t *testing.T) {
	e := startEcho(t)
	first := e.dial(t)
	stillEchoes(t, first)
	before := e.Descriptors() - 1
	first.Close()
	wire := wsclient.Join(text("whole"), part(wsclient.OpText, "half"))
	for cut := range len(wire) + 1 {
		c := e.dial(t)
		if err := c.Send(wire[:cut]); err != nil {
			t.Fatal(err)
		}
		if cut%2 == 0 {
			if err := c.Reset(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if err := c.Discard(); err != nil {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
	e.WaitDescriptors(before)
}
