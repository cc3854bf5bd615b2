package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"gorelay/internal/relaytest"
	"gorelay/internal/wsclient"
)

// online asks for a user's connections; token is a query's value.
func online(t *testing.T, p *relaytest.Publisher, token string) int {
	t.Helper()
	return get[int](t, wantData(t, call(t, p, "GET", onlinePath+"?token="+token, "")), "connections")
}

func TestOnline(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	if n := online(t, p, "a"); n != 0 {
		t.Errorf("%d connections before any", n)
	}
	first, second, spaced, moves := r.Dial(t, "/ws?token=a"), r.Dial(t, "/ws?token=a"), r.Dial(t, "/ws?token=x%20y%2B"), r.Dial(t, "/ws")
	for _, c := range []*wsclient.Conn{first, second, spaced, moves} {
		settle(t, c)
	}
	d := wantData(t, call(t, p, "GET", onlinePath+"?token=a", ""))
	wantMember(t, d, "token", `"a"`)
	wantMember(t, d, "connections", "2")
	for _, spelt := range []string{"x+y%2B", "x%20y%2b"} {
		if n := online(t, p, spelt); n != 1 {
			t.Errorf("%s: %d connections", spelt, n)
		}
	}
	identify(t, moves, `7`)
	if n := online(t, p, "7"); n != 1 {
		t.Errorf("%d connections after an identify", n)
	}
	identify(t, moves, `"a"`)
	if a, seven := online(t, p, "a"), online(t, p, "7"); a != 3 || seven != 0 {
		t.Errorf("after a move: %d and %d connections", a, seven)
	}
	var many []struct {
		Token       string `json:"token"`
		Connections int    `json:"connections"`
	}
	d = wantData(t, call(t, p, "POST", onlinePath, `{"tokens":["x y+","a",{"id":7},"a","none",1e1]}`))
	if err := json.Unmarshal(d["connections"], &many); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(many); got != "[{x y+ 1} {a 3} {7 0} {a 3} {none 0} {10 0}]" {
		t.Errorf("got %s", got)
	}
	first.Close()
	eventually(t, "the end of a connection", func() bool { return online(t, p, "a") == 2 })

	for _, query := range []string{"", "?token=", "?x=a"} {
		wantRefusal(t, call(t, p, "GET", onlinePath+query, ""), 400)
	}
	thousand := strings.TrimSuffix(repeat(`"a",`, 1000), ",")
	wantData(t, call(t, p, "POST", onlinePath, `{"tokens":[`+thousand+`]}`))
	for _, wrong := range []string{``, `x`, `[]`, `{}`, `{"tokens":null}`, `{"tokens":[]}`, `{"tokens":"a"}`, `{"tokens":["a",null]}`, `{"tokens":[""]}`, `{"tokens":[{}]}`, `{"tokens":[` + thousand + `,1]}`} {
		wantRefusal(t, call(t, p, "POST", onlinePath, wrong), 400)
	}
}

// TestDisconnect: the user's connections get what was pushed before, then the
// close frame that was asked for; nobody else notices.
func TestDisconnect(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	other := r.Dial(t, "/ws?token=b")
	settle(t, other)
	for _, row := range []struct {
		name, members string
		code          int
		reason        string
	}{
		{"default", ``, 1000, ""},
		{"nulls", `,"code":null,"reason":null`, 1000, ""},
		{"own code", `,"code":4001,"reason":"signed in elsewhere"`, 4001, "signed in elsewhere"},
		{"going away", `,"code":1001`, 1001, ""},
		{"policy", `,"code":1008,"reason":"\u00fc"`, 1008, "ü"},
		{"later", `,"code":1013`, 1013, ""},
		{"bad gateway", `,"code":1014`, 1014, ""},
		{"registered", `,"code":3000`, 3000, ""},
		{"highest", `,"code":4999,"reason":` + quote(repeat("r", 123)), 4999, repeat("r", 123)},
		{"exponent", `,"code":1e3`, 1000, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			const each = 3
			conns := make([]*wsclient.Conn, each)
			for i := range conns {
				conns[i] = r.Dial(t, "/ws?token=a")
				settle(t, conns[i])
			}
			for n := range 20 {
				push(t, p, body(fmt.Sprintf("n%d", n), []string{toToken("a"), `"tokens":["a"]`, `"token":null`}[n%3]))
			}
			d := wantData(t, call(t, p, "POST", disconnectPath, `{"token":{"id":"a"}`+row.members+`}`))
			wantMember(t, d, "disconnected", fmt.Sprint(each))
			for _, c := range conns {
				for n := range 20 {
					wantEvent(t, c, fmt.Sprintf("n%d", n))
				}
				_, got, err := c.ReadMessage()
				var ce *wsclient.CloseError
				if !errors.As(err, &ce) || ce.Code != row.code || ce.Reason != row.reason {
					t.Fatalf("got %.100q %v, want close %d %q", got, err, row.code, row.reason)
				}
				if err := c.ReadEnd(); err != nil {
					t.Error(err)
				}
			}
			eventually(t, "their end", func() bool { return online(t, p, "a") == 0 })
			wantMember(t, wantData(t, call(t, p, "POST", disconnectPath, `{"token":"a"}`)), "disconnected", "0")
			for n := range 20 {
				if n%3 == 2 {
					wantEvent(t, other, fmt.Sprintf("n%d", n))
				}
			}
		})
	}
	c := r.Dial(t, "/ws?token=a")
	settle(t, c)
	for _, wrong := range []string{
		``, `x`, `{}`, `{"token":null}`, `{"token":""}`, `{"token":[]}`, `{"token":true}`,
		`{"token":"a","code":"1000"}`, `{"token":"a","code":1000.5}`, `{"token":"a","reason":5}`,
		`{"token":"a","code":4000,"reason":` + quote(repeat("r", 124)) + `}`,
		`{"token":"a","code":4000,"reason":` + quote(repeat("ü", 62)) + `}`,
	} {
		t.Run(wrong, func(t *testing.T) { wantRefusal(t, call(t, p, "POST", disconnectPath, wrong), 400) })
	}
	for _, code := range []string{"0", "-1", "999", "1004", "1005", "1006", "1015", "1016", "2999", "5000", "66536", "1e9"} {
		wantRefusal(t, call(t, p, "POST", disconnectPath, `{"token":"a","code":`+code+`}`), 400)
	}
	settle(t, c)
	settle(t, other)
}

// TestDisconnectSlow: a client that reads nothing is closed in time, and what
// waited for it is given up with it.
func TestDisconnectSlow(t *testing.T) {
	t.Parallel()
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"max_pending_bytes": 64 << 20, "write_timeout": "8s"}})
	p := r.Publisher(t)
	stall(t, r, "a")
	eventually(t, "the connection", func() bool { return online(t, p, "a") == 1 })
	for range 8 { // more than the kernel takes for a socket
		push(t, p, `{"event_name":"big","subject":`+quote(repeat("b", 1_000_000))+`,"token":"a"}`)
	}
	wantMember(t, wantData(t, call(t, p, "POST", disconnectPath, `{"token":"a"}`)), "disconnected", "1")
	eventually(t, "its end", func() bool { return online(t, p, "a") == 0 })
	wantHealthy(t, r)
}
