package api

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"gorelay/internal/wsclient"
)

func TestOnline(t *testing.T) {
	r, dialer := startOnEngine(t)
	p := r.dial(t)
	connect(t, dialer, "/ws?token=a")
	connect(t, dialer, "/ws?token=a")
	connect(t, dialer, "/ws?token=1000")
	connect(t, dialer, "/ws")
	const head = `{"code":0,"msg":"ok","data":`
	p.request("GET", "/online?token=a", "").wantAnswer(200, head+`{"token":"a","connections":2}}`)
	p.request("GET", "/online?x=y&token=b%22%0a+c", "").wantAnswer(200, head+`{"token":"b\"\n c","connections":0}}`)
	p.request("POST", "/online", `{"tokens":["b",1e3,{"user_id":"a"},"a"]}`).wantAnswer(200,
		head+`{"connections":[{"token":"b","connections":0},{"token":"1000","connections":1},{"token":"a","connections":2},{"token":"a","connections":2}]}}`)
	if a := p.request("HEAD", "/online?token=a", "").read("HEAD"); a.StatusCode != 200 || a.body != "" {
		t.Errorf("HEAD: %d %q", a.StatusCode, a.body)
	}

	for _, query := range []string{"", "?token=", "?x=y"} {
		p.request("GET", "/online"+query, "").wantRefusal(400, "token is missing")
	}
	for _, query := range []string{"?token=%", "?token=%ff"} {
		p.request("GET", "/online"+query, "").wantRefusal(400, "percent-encoded UTF-8")
	}
	for _, test := range []struct{ body, msg string }{
		{``, "invalid json"}, {`[]`, "invalid json"}, {`{"tokens":["a"]`, "invalid json"}, {"{\"tokens\":[\"\xff\"]}", "invalid json"},
		{`{}`, "tokens is missing"}, {`{"tokens":null}`, "tokens must be an array"}, {`{"tokens":"a"}`, "tokens must be an array"},
		{`{"tokens":[]}`, "tokens must not be empty"}, {`{"tokens":[null]}`, "tokens[0] names nobody"},
		{`{"tokens":[` + strings.Repeat("1,", maxTargets) + `1]}`, "at most 1000"},
	} {
		p.request("POST", "/online", test.body).wantRefusal(400, test.msg)
	}
	p.request("POST", "/online", `{"tokens":[`+strings.Repeat("1,", maxTargets-1)+`1]}`).wantStatus(200)
}

func TestDisconnect(t *testing.T) {
	r, dialer := startOnEngine(t)
	p := r.dial(t)
	for _, test := range []struct {
		name, fields string
		code         int
		reason       string
	}{
		{"default", ``, 1000, ""},
		{"null", `,"code":null,"reason":null`, 1000, ""},
		{"code and reason", `,"code":4001,"reason":"bye \u00e9\""`, 4001, "bye é\""},
		{"other form", `,"code":3e3,"reason":""`, 3000, ""},
		{"longest reason", `,"reason":"` + strings.Repeat("é", 61) + `x"`, 1000, strings.Repeat("é", 61) + "x"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p.t = t
			a, b, other := connect(t, dialer, "/ws?token=7"), connect(t, dialer, "/ws?token=7"), connect(t, dialer, "/ws?token=8")
			p.post(`{"event_name":"e","subject":1,"token":7}`).wantStatus(200)
			p.request("POST", "/disconnect", `{"token":{"id":7}`+test.fields+`}`).wantAnswer(200, `{"code":0,"msg":"ok","data":{"disconnected":2}}`)
			for _, c := range []*wsclient.Conn{a, b} {
				if got := receive(t, c); !strings.HasPrefix(got, `{"event":"e"`) { // what was accepted comes first
					t.Errorf("got %s", got)
				}
				var closed *wsclient.CloseError
				if _, _, err := c.ReadMessage(); !errors.As(err, &closed) || closed.Code != test.code || closed.Reason != test.reason {
					t.Errorf("closed with %v", err)
				}
			}
			wantNothing(t, other)
			p.request("POST", "/disconnect", `{"token":"nobody"}`).wantAnswer(200, `{"code":0,"msg":"ok","data":{"disconnected":0}}`)
		})
	}
}

func TestDisconnectRefuses(t *testing.T) {
	r := startRelay(t)
	p := r.dial(t)
	tests := []struct{ body, msg string }{
		{``, "invalid json"}, {`["a"]`, "invalid json"}, {`{"token":"a"`, "invalid json"},
		{`{}`, "names nobody"}, {`{"token":null}`, "names nobody"}, {`{"token":""}`, "names nobody"}, {`{"token":[]}`, "names nobody"},
		{`{"token":true}`, "names nobody"}, {`{"token":1e999999}`, "names nobody"}, {`{"tokens":["a"]}`, "names nobody"},
		{`{"token":"a","code":"1000"}`, "code must be an integer"}, {`{"token":"a","code":1000.5}`, "code must be an integer"},
		{`{"token":"a","reason":5}`, "reason must be a string"}, {`{"token":"a","reason":["x"]}`, "reason must be a string"},
		{`{"token":"a","reason":"` + strings.Repeat("x", 124) + `"}`, "at most 123 bytes"},
		{`{"token":"a","reason":"` + strings.Repeat("é", 62) + `"}`, "at most 123 bytes"},
		{`{"token":"a","reason":"` + strings.Repeat(`\ud800`, 42) + `"}`, "at most 123 bytes"}, // each becomes three
	}
	for _, code := range []string{"-1", "0", "999", "1004", "1005", "1006", "1015", "1016", "2999", "5000", "66536", "1e30"} {
		tests = append(tests, struct{ body, msg string }{`{"token":"a","code":` + code + `}`, "code must be 1000 to 1003"})
	}
	for _, test := range tests {
		p.request("POST", "/disconnect", test.body).wantRefusal(400, test.msg)
	}
	for _, code := range []int{1000, 1003, 1007, 1014, 3000, 4999} {
		p.request("POST", "/disconnect", fmt.Sprintf(`{"token":"a","code":%d}`, code)).wantStatus(200)
	}
}
