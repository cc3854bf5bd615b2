package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"gorelay/engine"
	"gorelay/internal/wsclient"
)

// startEngine runs Clients on a real engine.
func startEngine(t testing.TB, o Options) (*engine.Engine, wsclient.Dialer) {
	t.Helper()
	eo := engine.DefaultOptions()
	eo.Addr = "127.0.0.1:0"
	e, err := engine.Listen(eo, NewClients(o))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := e.Shutdown(ctx); err != nil {
			t.Errorf("engine Shutdown: %v", err)
		}
	})
	return e, wsclient.Dialer{Addr: e.Addr().String()}
}

func TestConversation(t *testing.T) {
	e, dialer := startEngine(t, DefaultOptions())
	c, err := dialer.Dial("/ws?token=first")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// matched tells under which token the connection is. Messages of one
	// connection are handled in order, so a pong says that the ones before it
	// were.
	matched := func(token string) int {
		t.Helper()
		p := push{event: []byte(`"e"`), subject: []byte("1")}
		frame, _ := encode(&p, minStamp)
		n, err := e.Send(token, frame)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	pings := 0
	say := func(text string) {
		t.Helper()
		pings++
		frames := []wsclient.Frame{wsclient.Text(text), wsclient.Text(fmt.Sprintf(`{"type":"ping","ts":%d}`, pings))}
		if err := c.SendFrames(frames...); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf(`{"type":"pong","ts":%d}`, pings)
		for {
			_, got, err := c.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if string(got) == want {
				return
			}
			if !strings.HasPrefix(string(got), `{"event":"e"`) {
				t.Fatalf("got %s", got)
			}
		}
	}
	for _, step := range []struct{ text, token string }{
		{`hello`, "first"},
		{`{"event":"identify","data":{"token":"second"}}`, "second"},
		{`{"event":"identify","data":{"token":""}}`, "second"},
		{`{"event":"identify","data":{"token":1e999999}}`, "second"},
		{`{"event":"identify","data":{"token":"` + strings.Repeat("x", MaxTokenBytes+1) + `"}}`, "second"},
		{`{"event":"identify","data":{"token":{"user_id":1e3}}}`, "1000"},
		{`{"event":"identify","data":{"token":"\u0041"}}`, "A"},
	} {
		say(step.text)
		for _, token := range []string{"first", "second", "1000", "A"} {
			want := 0
			if token == step.token {
				want = 1
			}
			if got := matched(token); got != want {
				t.Fatalf("after %.60s: %d connections under %s, want %d", step.text, got, token, want)
			}
		}
	}
	// A binary message is not for us, whatever it holds.
	if err := c.SendFrames(wsclient.Data(wsclient.OpBinary, []byte(`{"event":"identify","data":{"token":"first"}}`))); err != nil {
		t.Fatal(err)
	}
	say(`[]`)
	if matched("first") != 0 || matched("A") != 1 {
		t.Fatal("a binary message moved the connection")
	}
}

func TestOriginIsRefusedOnTheWire(t *testing.T) {
	o := DefaultOptions()
	o.AllowedOrigins = []string{"https://example.com"}
	_, dialer := startEngine(t, o)
	c, err := dialer.Dial("/ws", "Origin: https://example.com")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	var refused *wsclient.RefusedError
	if _, err := dialer.Dial("/ws", "Origin: https://evil.test"); !errors.As(err, &refused) || !strings.Contains(err.Error(), "403") {
		t.Fatalf("Dial: %v, want 403", err)
	}
}
