//go:build !race

package api

import (
	"bytes"
	"testing"
	"time"

	"gorelay/engine"

	"github.com/valyala/fasthttp"
)

// The race detector adds allocations of its own.

func TestPingDoesNotAllocate(t *testing.T) {
	ping := []byte(`{"type":"ping","ts":1733890000000}`)
	reply := make([]byte, 0, 64)
	got := testing.AllocsPerRun(1000, func() {
		m := readMessage(ping)
		reply = appendPong(reply[:0], m.value)
	})
	if got != 0 || string(reply) != `{"type":"pong","ts":1733890000000}` {
		t.Fatalf("%v allocations, reply %s", got, reply)
	}
}

func TestIgnoredMessageDoesNotAllocate(t *testing.T) {
	text := []byte(`{"event":"hello","data":{"token":"x","list":[1,2,3]}}`)
	if got := testing.AllocsPerRun(1000, func() { readMessage(text) }); got != 0 {
		t.Fatalf("%v allocations", got)
	}
}

func TestPushAllocates(t *testing.T) {
	for _, test := range []struct {
		name, token string
		want        float64
	}{
		{"broadcast", ``, 1},                    // the frame
		{"string", `,"token":"USER_123"`, 2},    // and the user id
		{"number", `,"token":12345678901`, 2},   // the same
		{"object", `,"token":{"id":"abc"}`, 2},  // the same
		{"exponent", `,"token":1.2345e10`, 3},   // and the digits, joined
		{"escapes", `,"token":"\u0041bcd"`, 10}, // and what encoding/json needs
	} {
		body := []byte(`{"event_name":"eventName","subject":{"any":"payload"}` + test.token + `}`)
		var p push
		var refused *refusal
		got := testing.AllocsPerRun(1000, func() {
			if p, refused = readPush(body, testMaxDelay); refused == nil {
				encode(&p, minStamp)
			}
		})
		if refused != nil || got > test.want {
			t.Errorf("%s: %v allocations, want at most %v; %v", test.name, got, test.want, refused)
		}
	}
}

func TestIDDoesNotAllocate(t *testing.T) {
	m, now := newIDMint(nil), time.Now()
	text := make([]byte, 0, idLength)
	if got := testing.AllocsPerRun(1000, func() { text = m.append(text[:0], m.next(now, 1)) }); got != 0 {
		t.Fatalf("%v allocations", got)
	}
}

// A whole push, from its body to its answer, allocates its frame and the user
// id, and nothing for its own id. In place it is the same from its first byte on.
func TestPushAllocatesInAll(t *testing.T) {
	o := DefaultOptions()
	o.APIKey = testKey
	s := NewServer(o, nowhere{})
	for fields, want := range map[string]float64{``: 1, `,"token":"USER_123"`: 2, `,"token":"USER_123","include_id":true`: 2} {
		j := &job{ctx: &fasthttp.RequestCtx{}, body: make([]byte, 0, firstBody)}
		body := []byte(`{"event_name":"eventName","subject":{"any":"payload"}` + fields + `}`)
		stream := bytes.NewReader(body)
		j.ctx.Request.SetBodyStream(stream, len(body))
		var refused *refusal
		got := testing.AllocsPerRun(1000, func() {
			stream.Reset(body)
			j.answer = j.answer[:0]
			refused = s.push(j)
		})
		if refused != nil || got > want {
			t.Errorf("%s: %v allocations, want at most %v; %v", fields, got, want, refused)
		}
		request := benchRequest(body)
		var out []byte
		var v engine.Verdict
		got = testing.AllocsPerRun(1000, func() { _, out, v = s.answerInPlace(request, out[:0]) })
		if v != engine.Answered || got > want {
			t.Errorf("%s, in place: %v allocations, want at most %v; verdict %d", fields, got, want, v)
		}
	}
}
