package engine

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"gorelay/internal/wsclient"
)

// event is an inboundFrame that outlives the reader's next call.
type event struct {
	op      ws.OpCode
	payload string
}

const testMaxMessage = 70_000

// readPieces feeds a fresh reader and collects what it hands out.
func readPieces(maxMessage int, pieces ...[]byte) (events []event, err *frameError) {
	var r reader
	for _, p := range pieces {
		p = bytes.Clone(p) // the reader unmasks in place
		for len(p) > 0 {
			f, n, err := r.next(p, maxMessage)
			if f.ok && f.op != ws.OpContinuation { // not the fragments on the way
				events = append(events, event{f.op, string(f.payload)})
			}
			if err != nil {
				return events, err
			}
			if n == 0 {
				panic("the reader took nothing and said nothing")
			}
			p = p[n:]
		}
	}
	return events, nil
}

// Shorthands for frames of a client.
func textOf(s string) wsclient.Frame { return wsclient.Text(s) }
func binOf(s string) wsclient.Frame  { return wsclient.Data(wsclient.OpBinary, []byte(s)) }
func pingOf(s string) wsclient.Frame { return wsclient.Data(wsclient.OpPing, []byte(s)) }
func more(s string) wsclient.Frame   { return wsclient.Part(wsclient.OpContinuation, []byte(s)) }
func last(s string) wsclient.Frame   { return wsclient.Data(wsclient.OpContinuation, []byte(s)) }
func begin(s string) wsclient.Frame  { return wsclient.Part(wsclient.OpText, []byte(s)) }
func beginB(s string) wsclient.Frame { return wsclient.Part(wsclient.OpBinary, []byte(s)) }

// change returns f with something wrong.
func change(f wsclient.Frame, how func(*wsclient.Frame)) wsclient.Frame {
	how(&f)
	return f
}

func declared(form wsclient.LengthForm, n uint64) wsclient.Frame {
	return change(binOf(""), func(f *wsclient.Frame) { f.Form, f.Declared = form, n })
}

var (
	len126 = strings.Repeat("a", 126)
	len65k = strings.Repeat("b", 65536)
)

// readerCases are streams of frames with what must come of them.
var readerCases = []struct {
	name   string
	frames []wsclient.Frame
	events []event
	err    *frameError
}{
	{"text", []wsclient.Frame{textOf("hello")}, []event{{ws.OpText, "hello"}}, nil},
	{"empty text", []wsclient.Frame{textOf("")}, []event{{ws.OpText, ""}}, nil},
	{"binary", []wsclient.Frame{binOf("\xff\x00")}, []event{{ws.OpBinary, "\xff\x00"}}, nil},
	{"two messages", []wsclient.Frame{textOf("a"), binOf("b")}, []event{{ws.OpText, "a"}, {ws.OpBinary, "b"}}, nil},
	{"125 bytes", []wsclient.Frame{binOf(len126[:125])}, []event{{ws.OpBinary, len126[:125]}}, nil},
	{"126 bytes", []wsclient.Frame{binOf(len126)}, []event{{ws.OpBinary, len126}}, nil},
	{"fragments", []wsclient.Frame{begin("he"), more("ll"), last("o")}, []event{{ws.OpText, "hello"}}, nil},
	{"empty fragments", []wsclient.Frame{begin(""), more(""), more("x"), last("")}, []event{{ws.OpText, "x"}}, nil},
	{"nothing in fragments", []wsclient.Frame{beginB(""), last("")}, []event{{ws.OpBinary, ""}}, nil},
	{"ping between fragments", []wsclient.Frame{begin("a"), pingOf("p"), last("b")}, []event{{ws.OpPing, "p"}, {ws.OpText, "ab"}}, nil},
	{"pong and close", []wsclient.Frame{wsclient.Data(wsclient.OpPong, nil), wsclient.CloseFrame(1000, "bye")},
		[]event{{ws.OpPong, ""}, {ws.OpClose, "\x03\xe8bye"}}, nil},
	{"two pings", []wsclient.Frame{pingOf("one"), pingOf("two")}, []event{{ws.OpPing, "one"}, {ws.OpPing, "two"}}, nil},
	{"ping of 125", []wsclient.Frame{pingOf(len126[:125])}, []event{{ws.OpPing, len126[:125]}}, nil},
	{"message after fragments", []wsclient.Frame{beginB("a"), last("b"), textOf("c")}, []event{{ws.OpBinary, "ab"}, {ws.OpText, "c"}}, nil},
	{"character across fragments", []wsclient.Frame{begin("\xf0\x9f"), more("\x98"), last("\x80")}, []event{{ws.OpText, "\U0001f600"}}, nil},
	{"character around a ping", []wsclient.Frame{begin("\xe2\x82"), pingOf(""), last("\xac")}, []event{{ws.OpPing, ""}, {ws.OpText, "\u20ac"}}, nil},

	{"not masked", []wsclient.Frame{change(textOf("a"), func(f *wsclient.Frame) { f.Masked = false })}, nil, errProtocol},
	{"RSV1", []wsclient.Frame{change(textOf("a"), func(f *wsclient.Frame) { f.RSV = 4 })}, nil, errProtocol},
	{"RSV2", []wsclient.Frame{change(textOf("a"), func(f *wsclient.Frame) { f.RSV = 2 })}, nil, errProtocol},
	{"RSV3", []wsclient.Frame{change(pingOf(""), func(f *wsclient.Frame) { f.RSV = 1 })}, nil, errProtocol},
	{"opcode 3", []wsclient.Frame{wsclient.Data(3, nil)}, nil, errProtocol},
	{"opcode 7", []wsclient.Frame{wsclient.Data(7, nil)}, nil, errProtocol},
	{"opcode 11", []wsclient.Frame{wsclient.Data(11, nil)}, nil, errProtocol},
	{"opcode 15", []wsclient.Frame{wsclient.Data(15, nil)}, nil, errProtocol},
	{"ping of 126", []wsclient.Frame{pingOf(len126)}, nil, errProtocol},
	{"ping in fragments", []wsclient.Frame{change(pingOf(""), func(f *wsclient.Frame) { f.Fin = false })}, nil, errProtocol},
	{"continuation of nothing", []wsclient.Frame{last("a")}, nil, errProtocol},
	{"continuation after the end", []wsclient.Frame{begin("a"), last("b"), more("c")}, []event{{ws.OpText, "ab"}}, errProtocol},
	{"text inside a message", []wsclient.Frame{begin("a"), textOf("b")}, nil, errProtocol},
	{"text inside an empty message", []wsclient.Frame{begin(""), textOf("b")}, nil, errProtocol},
	{"125 in 16 bits", []wsclient.Frame{declared(wsclient.Form16, 125)}, nil, errProtocol},
	{"65535 in 64 bits", []wsclient.Frame{declared(wsclient.Form64, 65535)}, nil, errProtocol},
	{"length 2^63", []wsclient.Frame{declared(wsclient.Form64, 1<<63)}, nil, errProtocol},
	{"length 2^62", []wsclient.Frame{declared(wsclient.Form64, 1<<62)}, nil, errTooBig},
	{"length 2^63-1", []wsclient.Frame{declared(wsclient.Form64, 1<<63-1)}, nil, errTooBig},
	{"one byte too many", []wsclient.Frame{declared(wsclient.Form64, testMaxMessage+1)}, nil, errTooBig},
	{"too many in fragments", []wsclient.Frame{beginB(len126), change(declared(wsclient.Form64, testMaxMessage-125), func(f *wsclient.Frame) { f.Op = wsclient.OpContinuation })}, nil, errTooBig},

	{"not UTF-8", []wsclient.Frame{textOf("ok"), textOf("a\xffb")}, []event{{ws.OpText, "ok"}}, errUTF8},
	{"text ends in a character", []wsclient.Frame{textOf("\xe2\x82")}, nil, errUTF8},
	{"fragments end in a character", []wsclient.Frame{begin("\xe2"), last("\x82")}, nil, errUTF8},
	{"empty end in a character", []wsclient.Frame{begin("\xe2\x82"), last("")}, nil, errUTF8},
	{"broken across fragments", []wsclient.Frame{begin("\xed"), more("\xa0")}, nil, errUTF8},
}

func TestReaderInEveryPiece(t *testing.T) {
	for _, tt := range readerCases {
		t.Run(tt.name, func(t *testing.T) {
			wire := wsclient.Join(tt.frames...)
			check := func(how string, pieces ...[]byte) {
				t.Helper()
				events, err := readPieces(testMaxMessage, pieces...)
				if !slices.Equal(events, tt.events) || err != tt.err {
					t.Fatalf("%s: %q, %v; want %q, %v", how, events, err, tt.events, tt.err)
				}
			}
			check("whole", wire)
			var bytewise [][]byte
			for i := range wire {
				check("in two", wire[:i], wire[i:])
				bytewise = append(bytewise, wire[i:i+1])
			}
			check("byte by byte", bytewise...)
		})
	}
}

func TestReaderAtTheLongForms(t *testing.T) {
	for _, n := range []int{65535, 65536} {
		wire := binOf(len65k[:n]).Bytes()
		for _, at := range []int{1, 2, 3, 9, 13, 14, 15, 1000, len(wire) - 1} {
			events, err := readPieces(testMaxMessage, wire[:at], wire[at:])
			if err != nil || len(events) != 1 || events[0].payload != len65k[:n] {
				t.Errorf("%d bytes split at %d: %d events, %v", n, at, len(events), err)
			}
		}
	}
}

// What a header announces costs nothing until it comes.
func TestReaderHoldsWhatHasArrived(t *testing.T) {
	const announced = 1 << 40
	head := declared(wsclient.Form64, announced).Bytes()
	var r reader
	if _, _, err := r.next(bytes.Clone(head), 1<<62); err != nil {
		t.Fatal(err)
	}
	if cap(r.message) != 0 {
		t.Fatalf("%d bytes held before the first has come", cap(r.message))
	}
	piece := make([]byte, 1000)
	for arrived := len(piece); arrived <= 200_000; arrived += len(piece) {
		if _, _, err := r.next(piece, 1<<62); err != nil {
			t.Fatal(err)
		}
		if len(r.message) != arrived || cap(r.message) > 2*arrived+64 {
			t.Fatalf("%d bytes have come, %d are held in %d", arrived, len(r.message), cap(r.message))
		}
	}
}

// A whole frame in one piece is handed out where it lies.
func TestReaderHandsOutInPlace(t *testing.T) {
	for _, f := range []wsclient.Frame{textOf("hello"), pingOf("hello")} {
		wire := f.Bytes()
		var r reader
		got, _, err := r.next(wire, testMaxMessage)
		if err != nil || !got.ok {
			t.Fatal(got, err)
		}
		if &got.payload[0] != &wire[len(wire)-len(got.payload)] {
			t.Errorf("opcode %d: the payload is a copy", f.Op)
		}
		if !r.idle() {
			t.Error("the reader is not idle behind a whole frame")
		}
	}
}

// Text that no continuation can mend is refused with the piece that shows it,
// not with the end of the message (RFC 6455 section 8.1).
func TestReaderRefusesBrokenTextAtOnce(t *testing.T) {
	wire := textOf("\xed\xa0" + len126).Bytes()
	events, err := readPieces(testMaxMessage, wire[:len(wire)-len(len126)])
	if len(events) != 0 || err != errUTF8 {
		t.Errorf("%v, %v", events, err)
	}
}
