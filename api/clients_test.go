package api

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"gorelay/engine"
)

func TestClaims(t *testing.T) {
	c := NewClients(DefaultOptions())
	for target, want := range map[string]bool{
		"/ws": true, "/ws?token=a": true, "/ws?": true, "/ws?x=/ws": true,
		"http://host:3000/ws?token=a": true, "ws://host/ws": true,
		"/ws/": false, "//ws": false, "/WS": false, "/w%73": false, "/": false, "": false, "/x?/ws": false,
		"http://host": false, "http://host/x/ws": false, "*": false, "/ws;a": false, "ws": false,
	} {
		if got := c.Claims([]byte(target)); got != want {
			t.Errorf("Claims(%q) = %t", target, got)
		}
	}
}

func TestOpenToken(t *testing.T) {
	c := NewClients(DefaultOptions())
	longest := strings.Repeat("x", MaxTokenBytes)
	for target, want := range map[string]string{
		"/ws":                           "",
		"/ws?":                          "",
		"/ws?token":                     "",
		"/ws?token=":                    "",
		"/ws?token=USER_123":            "USER_123",
		"/ws?a=b&token=c":               "c",
		"/ws?token=a&token=b":           "a",
		"/ws?token=&token=b":            "",
		"/ws?token=%E4%BD%A0+%2B%26%3d": "你 +&=",
		"/ws?token=a=b?c":               "a=b?c",
		"/ws?t%6Fken=a":                 "a",
		"/ws?tok+en=a":                  "",
		"/ws?Token=a":                   "",
		"/ws?token=%4":                  "",
		"/ws?token=%zz":                 "",
		"/ws?token=a%":                  "",
		"/ws?%zz=1&token=a":             "a",
		"/ws?&&token=a&":                "a",
		"/ws?token=%7B%22id%22%3A1%7D":  `{"id":1}`,
		"/ws?token=" + longest:          longest,
		"/ws?token=" + longest + "x":    "",
	} {
		got, err := c.Open(&engine.Request{Target: []byte(target)})
		if err != nil || got != want {
			t.Errorf("Open(%.60q) = %.60q, %v, want %.60q", target, got, err, want)
		}
	}
}

func TestOpenOrigin(t *testing.T) {
	list := []string{"https://Example.com", "http://localhost:8080/"}
	for _, test := range []struct {
		name    string
		allowed []string
		origin  string
		refused bool
	}{
		{"no list", nil, "https://evil.test", false},
		{"star", []string{"https://example.com", "*"}, "https://evil.test", false},
		{"no page", list, "", false},
		{"listed", list, "https://example.com", false},
		{"other case", list, "HTTPS://EXAMPLE.COM", false},
		{"port", list, "http://localhost:8080", false},
		{"other page", list, "https://evil.test", true},
		{"other scheme", list, "http://example.com", true},
		{"other port", list, "https://example.com:8443", true},
		{"subdomain", list, "https://a.example.com", true},
		{"longer name", list, "https://example.com.evil.test", true},
		{"opaque page", list, "null", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := DefaultOptions()
			o.AllowedOrigins = test.allowed
			r := &engine.Request{Target: []byte("/ws?token=a")}
			if test.origin != "" {
				r.Origin = []byte(test.origin)
			}
			_, err := NewClients(o).Open(r)
			var refusal *engine.Refusal
			if refused := errors.As(err, &refusal); refused != test.refused || refused && refusal.Status != 403 {
				t.Fatalf("Open: %v", err)
			}
		})
	}
}

func TestReadMessage(t *testing.T) {
	for _, test := range []struct {
		name, text string
		kind       messageKind
		value      string
	}{
		{"ping", `{"type":"ping","ts":1733890000000}`, messagePing, `1733890000000`},
		{"ping, digits kept", `{"ts":1.50e+03,"type":"ping"}`, messagePing, `1.50e+03`},
		{"ping without ts", `{"type":"ping"}`, messagePing, ``},
		{"ping with any ts", `{"type":"ping","ts":{"a" : 1}}`, messagePing, `{"a" : 1}`},
		{"escaped ping", `{"\u0074ype":"\u0070ing","ts":1}`, messagePing, `1`},
		{"both", `{"type":"ping","event":"identify","ts":1,"data":{"token":"a"}}`, messagePing, `1`},
		{"identify", `{"event":"identify","data":{"token":"USER_123"}}`, messageIdentify, `"USER_123"`},
		{"identify by number", `{"event":"identify","data":{"token":12}}`, messageIdentify, `12`},
		{"identify by nothing", `{"event":"identify","data":{}}`, messageIdentify, ``},
		{"identify without data", `{"event":"identify"}`, messageOther, ``},
		{"identify with other data", `{"event":"identify","data":"USER"}`, messageOther, ``},
		{"identify with a list", `{"event":"identify","data":[{"token":"a"}]}`, messageOther, ``},
		{"other event", `{"event":"hello","data":{"token":"a"}}`, messageOther, ``},
		{"other type", `{"type":"PING","ts":1}`, messageOther, ``},
		{"type is no string", `{"type":["ping"],"ts":1}`, messageOther, ``},
		{"half", `{"type":"ping","ts":1`, messageOther, ``},
		{"two", `{"type":"ping"}{"type":"ping"}`, messageOther, ``},
		{"list", `[{"type":"ping"}]`, messageOther, ``},
		{"text", `ping`, messageOther, ``},
		{"empty", ``, messageOther, ``},
		{"bad number", `{"type":"ping","ts":01}`, messageOther, ``},
		{"control character", "{\"type\":\"ping\",\"ts\":\"\x01\\n\"}", messageOther, ``},
		{"deep", `{"type":"ping","ts":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}`, messageOther, ``},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := readMessage([]byte(test.text))
			if m.kind != test.kind || string(m.value) != test.value {
				t.Fatalf("got %d %s", m.kind, m.value)
			}
		})
	}
}

func TestAppendPong(t *testing.T) {
	for ts, want := range map[string]string{
		"1733890000000": `{"type":"pong","ts":1733890000000}`,
		"1.50e+03":      `{"type":"pong","ts":1.50e+03}`,
		`"\u0041"`:      `{"type":"pong","ts":"\u0041"}`,
		"":              `{"type":"pong","ts":null}`,
	} {
		var raw []byte
		if ts != "" {
			raw = []byte(ts)
		}
		if got := appendPong(nil, raw); string(got) != want {
			t.Errorf("appendPong(%s) = %s", ts, got)
		}
	}
}

func FuzzReadMessage(f *testing.F) {
	f.Add([]byte(`{"type":"ping","ts":1733890000000}`))
	f.Add([]byte(`{"event":"identify","data":{"token":{"id":1e3}}}`))
	f.Add([]byte(`{"typ\u0065":"pin\u0067","ts":[1.0 , null],"event":"identify"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := readMessage(b)
		var want struct{ kind, token, ts string }
		var fields, data map[string]json.RawMessage
		if json.Unmarshal(b, &fields) == nil && depthOf(b) <= maxDepth {
			var name, event string
			_ = json.Unmarshal(fields["type"], &name)
			_ = json.Unmarshal(fields["event"], &event)
			isData := json.Unmarshal(fields["data"], &data) == nil && data != nil
			switch {
			case name == "ping":
				want.kind, want.ts = "ping", string(fields["ts"])
			case event == "identify" && isData:
				want.kind, want.token = "identify", string(data["token"])
			}
		}
		switch m.kind {
		case messagePing:
			if want.kind != "ping" || string(m.value) != want.ts {
				t.Fatalf("%q: ping %q, want %+v", b, m.value, want)
			}
			if pong := appendPong(nil, m.value); utf8.Valid(b) && !json.Valid(pong) {
				t.Fatalf("pong %q", pong)
			}
		case messageIdentify:
			if want.kind != "identify" || string(m.value) != want.token {
				t.Fatalf("%q: identify %q, want %+v", b, m.value, want)
			}
		default:
			if want.kind != "" {
				t.Fatalf("%q: ignored, want %+v", b, want)
			}
		}
	})
}
