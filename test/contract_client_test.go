package test

import (
	"encoding/json"
	"testing"

	"gorelay/internal/relaytest"
	"gorelay/internal/wsclient"
)

// eventSource reads a connection for one subtest.
type eventSource struct {
	t *testing.T
	c *wsclient.Conn
}

func (s eventSource) want(event string) envelope {
	s.t.Helper()
	return wantEvent(s.t, s.c, event)
}

func unquote(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatalf("%s is not a string: %v", raw, err)
	}
	return s
}

func TestTokenInQuery(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	for _, c := range []struct{ target, user string }{
		{"/ws?token=USER_123", "USER_123"},
		{"/ws?token=a%20b", "a b"},
		{"/ws?token=a+b", "a b"},
		{"/ws?token=a%2Bb", "a+b"},
		{"/ws?token=a%2bb%26c%3Dd", "a+b&c=d"},
		{"/ws?token=%E6%97%A5%E6%9C%AC", "日本"},
		{"/ws?token=a%25b", "a%b"},
		{"/ws?x=1&token=mid&y=2", "mid"},
		{"/ws?token=a=b", "a=b"},
		{"/ws?mytoken=no&token=yes", "yes"},
		{"/ws?token=123", "123"},
		{"/ws?token=" + repeat("t", 4000), repeat("t", 4000)},
	} {
		t.Run(c.target, func(t *testing.T) {
			conn := r.Dial(t, c.target)
			defer conn.Close()
			settle(t, conn)
			push(t, p, `{"event_name":"mine","subject":1,"token":`+quote(c.user)+`}`)
			wantEvent(t, conn, "mine")
		})
	}
	for _, target := range []string{"/ws?token=", "/ws?", "/ws?token", "/ws?x=1", "/ws?mytoken=a", "/ws?&&="} {
		t.Run("no token "+target, func(t *testing.T) {
			conn := r.Dial(t, target)
			defer conn.Close()
			settle(t, conn)
			push(t, p, `{"event_name":"other","subject":1,"token":"a"}`)
			push(t, p, `{"event_name":"all","subject":1}`)
			wantEvent(t, conn, "all")
			identify(t, conn, `"later"`)
			push(t, p, `{"event_name":"mine","subject":1,"token":"later"}`)
			wantEvent(t, conn, "mine")
		})
	}
}

// TestOddQueries: whatever the query, the connection opens and can identify.
func TestOddQueries(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	for _, target := range []string{"/ws?token=%", "/ws?token=%zz", "/ws?token=%FF%FE", "/ws?token=%00", "/ws?token=a&token=b", "/ws?token;=a", "/ws?%74oken=a", "/ws??token=a", "/ws?token=%ed%a0%80"} {
		t.Run(target, func(t *testing.T) {
			c := r.Dial(t, target)
			defer c.Close()
			identify(t, c, `"later"`)
			push(t, p, `{"event_name":"mine","subject":1,"token":"later"}`)
			wantEvent(t, c, "mine")
		})
	}
}

// TestEverythingInOneSegment: what a client says right behind its handshake
// counts.
func TestEverythingInOneSegment(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	identifyNow := `{"event":"identify","data":{"token":"eager"}}`
	wire := append(wsclient.Handshake("/ws", r.Addr), wsclient.Join(
		wsclient.Part(wsclient.OpText, []byte(identifyNow[:20])), wsclient.Data(wsclient.OpPing, nil),
		wsclient.Data(wsclient.OpContinuation, []byte(identifyNow[20:])), wsclient.Text(`{"type":"ping","ts":1}`))...)
	c, err := wsclient.Dialer{Addr: r.Addr}.DialRaw(wire)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if answer, err := c.ReadResponse(); err != nil || answer.Status != 101 {
		t.Fatalf("handshake: %+v %v", answer, err)
	}
	wantText(t, c, `{"type":"pong","ts":1}`)
	push(t, r.Publisher(t), `{"event_name":"mine","subject":1,"token":"eager"}`)
	wantEvent(t, c, "mine")
}

func TestIdentifyMoves(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	c := r.Dial(t, "/ws?token=first")
	settle(t, c)
	for _, step := range []struct{ from, to string }{{"first", "second"}, {"second", "third"}, {"third", "first"}, {"first", "first"}} {
		identify(t, c, quote(step.to))
		if step.from != step.to {
			push(t, p, `{"event_name":"old","subject":1,"token":`+quote(step.from)+`}`)
		}
		push(t, p, `{"event_name":"new","subject":1,"token":`+quote(step.to)+`}`)
		push(t, p, `{"event_name":"all","subject":1}`)
		wantEvent(t, c, "new")
		wantEvent(t, c, "all")
	}
}

func TestUnusableIdentifyChangesNothing(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	c := r.Dial(t, "/ws?token=keeps")
	settle(t, c)
	for _, token := range []string{`""`, `null`, `true`, `false`, `[]`, `{}`, `["x"]`, `{"name":"x"}`} {
		t.Run(token, func(t *testing.T) {
			identify(t, c, token)
			push(t, p, `{"event_name":"mine","subject":1,"token":"keeps"}`)
			wantEvent(t, c, "mine")
		})
	}
}

func TestConnectionsShareToken(t *testing.T) {
	const sharers = 20
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	var conns []*wsclient.Conn
	for range sharers {
		c := r.Dial(t, "/ws?token=shared")
		settle(t, c)
		conns = append(conns, c)
	}
	push(t, p, `{"event_name":"one","subject":1,"token":"shared"}`)
	push(t, p, `{"event_name":"two","subject":1,"token":"shared"}`)
	for _, c := range conns {
		wantEvent(t, c, "one")
		wantEvent(t, c, "two")
	}
	// One of them leaves; the others stay.
	conns[0].Close()
	push(t, p, `{"event_name":"three","subject":1,"token":"shared"}`)
	for _, c := range conns[1:] {
		wantEvent(t, c, "three")
	}
}

func TestAppPing(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	c := r.Dial(t, "/ws")
	for _, m := range []struct{ ping, ts string }{
		{`{"type":"ping","ts":1733890000000}`, `1733890000000`},
		{`{"type":"ping","ts":0}`, `0`},
		{`{"type":"ping","ts":1733890000000.123}`, `1733890000000.123`},
		{`{"type":"ping","ts":12345678901234567890}`, `12345678901234567890`},
		{`{"ts":5,"type":"ping"}`, `5`},
		{` { "type" : "ping" , "ts" : 6 , "more" : [1] } `, `6`},
		{`{"type":"\u0070ing","ts":7}`, `7`},
	} {
		t.Run(m.ping, func(t *testing.T) {
			if err := c.SendText(m.ping); err != nil {
				t.Fatal(err)
			}
			wantText(t, c, `{"type":"pong","ts":`+m.ts+`}`)
		})
	}
}

func TestGarbageIsIgnored(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	c := r.Dial(t, "/ws?token=garbage")
	settle(t, c)
	for _, text := range []string{
		``, ` `, `x`, `{`, `}`, `[]`, `null`, `5`, `"ping"`, `{}`, `{"type":1}`, `{"type":"pong","ts":1}`,
		`{"type":"PING","ts":1}`, `{"event":"identify"}`, `{"event":"identify","data":5}`, `{"event":"identify","data":{}}`,
		`{"event":"identify","data":[{"token":"x"}]}`, `{"event":"Identify","data":{"token":"x"}}`,
		`{"event":"push","data":{"token":"x"}}`, `{"token":"x"}`, `{"event":"identify","data":{"token":"x"}`,
		`{"event":"identify","data":{"token":"x"}} trailing`, "\x00", `{"event":"\ud800"}`, repeat(`[`, 60000),
	} {
		if err := c.SendText(text); err != nil {
			t.Fatal(err)
		}
	}
	for _, payload := range []string{"", "\x00\xff\xfe", repeat("\x80", 70)} {
		if err := c.SendFrames(wsclient.Data(wsclient.OpBinary, []byte(payload))); err != nil {
			t.Fatal(err)
		}
	}
	settle(t, c)
	push(t, p, `{"event_name":"mine","subject":1,"token":"garbage"}`)
	wantEvent(t, c, "mine")
}
