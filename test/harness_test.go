// Package test holds the project's black-box tests. They run the built
// programs as processes and judge what goes over the wire, nothing else.
package test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"gorelay/internal/relaytest"
	"gorelay/internal/wsclient"
)

// waiters is how many of the tests that mostly wait for a deadline of the
// relay's run side by side. Tests that need the processor run alone.
const waiters = "12"

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", waiters); err != nil {
		panic(err)
	}
	os.Exit(relaytest.Main(m))
}

// envelope is a message of the relay to a client, its raw values untouched.
type envelope struct {
	Event string `json:"event"`
	Data  struct {
		Subject json.RawMessage `json:"subject"`
		TS      int64           `json:"ts"`
		Token   json.RawMessage `json:"token"`
	} `json:"data"`
}

// push sends one body, wants 200, and returns the answer's data.
func push(t testing.TB, p *relaytest.Publisher, body string) map[string]json.RawMessage {
	t.Helper()
	r := post(t, p, body)
	var answer struct {
		Code *int                       `json:"code"`
		Msg  string                     `json:"msg"`
		Data map[string]json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(r.Body, &answer); err != nil || r.Status != 200 || answer.Code == nil || *answer.Code != 0 || answer.Msg != "ok" {
		t.Fatalf("push %.200s: %d %.300s", body, r.Status, r.Body)
	}
	return answer.Data
}

// post sends one body and returns the answer, whatever it is.
func post(t testing.TB, p *relaytest.Publisher, body string) *wsclient.Response {
	t.Helper()
	r, err := p.Push([]byte(body))
	if err != nil {
		t.Fatalf("push %.200s: %v", body, err)
	}
	return r
}

// wantText reads the next message and wants exactly this text.
func wantText(t testing.TB, c *wsclient.Conn, want string) {
	t.Helper()
	op, got, err := c.ReadMessage()
	if err != nil || op != wsclient.OpText || string(got) != want {
		t.Fatalf("got %d %.200q (%v), want text %.200q", op, got, err, want)
	}
}

// readEnvelope reads the next message as an envelope.
func readEnvelope(t testing.TB, c *wsclient.Conn) (envelope, string) {
	t.Helper()
	op, raw, err := c.ReadMessage()
	if err != nil || op != wsclient.OpText {
		t.Fatalf("read: opcode %d %.200q, %v", op, raw, err)
	}
	var e envelope
	if err := json.Unmarshal(raw, &e); err != nil {
		t.Fatalf("envelope %.300q: %v", raw, err)
	}
	return e, string(raw)
}

// wantEvent reads the next message and wants an envelope of this event. That
// nothing else came before it is how tests show that a message was not sent.
func wantEvent(t testing.TB, c *wsclient.Conn, event string) envelope {
	t.Helper()
	e, raw := readEnvelope(t, c)
	if e.Event != event {
		t.Fatalf("got %.300s, want event %q", raw, event)
	}
	return e
}

// settle makes sure that the relay has handled everything that the client sent.
func settle(t testing.TB, c *wsclient.Conn) {
	t.Helper()
	if err := c.SendText(`{"type":"ping","ts":1}`); err != nil {
		t.Fatal(err)
	}
	wantText(t, c, `{"type":"pong","ts":1}`)
}

// identify gives the connection a token, a JSON value, and waits until it counts.
func identify(t testing.TB, c *wsclient.Conn, token string) {
	t.Helper()
	if err := c.SendText(`{"event":"identify","data":{"token":` + token + `}}`); err != nil {
		t.Fatal(err)
	}
	settle(t, c)
}

// wantClose reads up to the close frame, wants one of these codes and no
// message before it, and then the end of the TCP connection.
func wantClose(t testing.TB, c *wsclient.Conn, codes ...int) {
	t.Helper()
	_, got, err := c.ReadMessage()
	var ce *wsclient.CloseError
	if !errors.As(err, &ce) {
		t.Fatalf("got %.100q %v, want close %v", got, err, codes)
	}
	ok := false
	for _, code := range codes {
		ok = ok || ce.Code == code
	}
	if !ok {
		t.Fatalf("got %v, want close %v", ce, codes)
	}
	if err := c.ReadEnd(); err != nil {
		t.Fatalf("after close %d: %v", ce.Code, err)
	}
}

// quote is the JSON string of s.
func quote(s string) string {
	b, _ := json.Marshal(s) // a string always encodes
	return string(b)
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	if err := relaytest.WaitFor(cond); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// wantHealthy checks that the relay still serves: health, a new connection and
// a push to it.
func wantHealthy(t testing.TB, r *relaytest.Relay) {
	t.Helper()
	p := &relaytest.Publisher{Addr: r.Addr, Key: relaytest.Key}
	defer p.Close()
	h, err := p.Do("GET", "/health", nil)
	if err != nil || h.Status != 200 {
		t.Fatalf("health: %+v %v", h, err)
	}
	token := fmt.Sprintf("healthy-%d", time.Now().UnixNano())
	c := r.Dial(t, "/ws?token="+token)
	defer c.Close()
	settle(t, c)
	push(t, p, `{"event_name":"healthy","subject":1,"token":`+quote(token)+`}`)
	wantEvent(t, c, "healthy")
}

// idleDescriptors is the number of files that the relay has open when nobody is
// connected. It is measured on one that has served both kinds of connection,
// for some files are opened at first use.
func idleDescriptors(t testing.TB, r *relaytest.Relay) int {
	t.Helper()
	p := r.Publisher(t)
	if _, err := p.Do("GET", "/health", nil); err != nil {
		t.Fatal(err)
	}
	c := r.Dial(t, "/ws")
	settle(t, c)
	open := r.Descriptors()
	c.Close()
	p.Close()
	r.WaitDescriptors(open - 2)
	return open - 2
}

// repeat is s, n times.
func repeat(s string, n int) string { return strings.Repeat(s, n) }
