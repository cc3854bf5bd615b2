package api

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"gorelay/internal/wsclient"
)

// startOnEngine runs both sides of the relay on one port of a real engine.
func startOnEngine(t *testing.T, set ...func(*Options)) (*relay, wsclient.Dialer) {
	t.Helper()
	o := DefaultOptions()
	o.APIKey = testKey
	o.MaxDelay = testMaxDelay
	for _, f := range set {
		f(&o)
	}
	e, dialer := startEngine(t, o)
	r := &relay{Server: NewServer(o, e), addr: dialer.Addr}
	served := r.serve(t, e.HTTP())
	t.Cleanup(func() { // before the engine's own shutdown
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		<-served
	})
	return r, dialer
}

// request sends a request with the key, the target being behind the push path.
func (p *publisher) request(method, below, body string, headers ...string) *publisher {
	headers = append(headers, "Host: x", "X-API-KEY: "+testKey, fmt.Sprintf("Content-Length: %d", len(body)))
	return p.write("%s", method+" /api/push"+below+" HTTP/1.1\r\n"+strings.Join(headers, "\r\n")+"\r\n\r\n"+body)
}

// accepted is the data of an answer, of any route.
type accepted struct {
	ID           string   `json:"id"`
	Status       string   `json:"status"`
	Matched      *int     `json:"matched"`
	DeliverAt    *int64   `json:"deliver_at"`
	CreatedAt    int64    `json:"created_at"`
	Targets      int      `json:"targets"`
	Broadcast    bool     `json:"broadcast"`
	TargetUserID string   `json:"target_user_id"`
	Tokens       []string `json:"tokens"`

	Items      []accepted `json:"items"`
	NextCursor *string    `json:"next_cursor"`
}

// wantData reads an answer of success and returns its data.
func (p *publisher) wantData() (data accepted) {
	p.t.Helper()
	p.wantInto(&data)
	return data
}

// wantInto reads an answer of success and decodes its data.
func (p *publisher) wantInto(data any) answer {
	p.t.Helper()
	a := p.read("POST")
	got := struct {
		Code int
		Msg  string
		Data any
	}{Code: -1, Data: data}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.StatusCode != 200 || got.Code != 0 || got.Msg != "ok" {
		p.t.Fatalf("got %d %.300s, %v", a.StatusCode, a.body, err)
	}
	return a
}

// connect opens a WebSocket that is in its shard when connect returns.
func connect(t *testing.T, d wsclient.Dialer, target string) *wsclient.Conn {
	t.Helper()
	c, err := d.Dial(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SendFrames(wsclient.Text(`{"type":"ping","ts":0}`)); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, c); got != `{"type":"pong","ts":0}` {
		t.Fatalf("got %s, want the pong", got)
	}
	return c
}

// receive reads one text message.
func receive(t *testing.T, c *wsclient.Conn) string {
	t.Helper()
	_, text, err := c.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// wantNothing checks that no message came before this moment.
func wantNothing(t *testing.T, c *wsclient.Conn) {
	t.Helper()
	if err := c.SendFrames(wsclient.Text(`{"type":"ping","ts":1}`)); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, c); got != `{"type":"pong","ts":1}` {
		t.Fatalf("got %s, want nothing but the pong", got)
	}
}

// inSeconds is a time in milliseconds since the epoch.
func inSeconds(s int) int64 { return time.Now().Add(time.Duration(s) * time.Second).UnixMilli() }
