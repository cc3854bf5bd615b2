package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"gorelay/internal/relaytest"
	"gorelay/internal/wsclient"
)

// wantRefusal checks the shape that every refusal has.
func wantRefusal(t *testing.T, r *wsclient.Response, status int) (msg string) {
	t.Helper()
	if r.Status != status {
		t.Fatalf("status %d %.200s, want %d", r.Status, r.Body, status)
	}
	wantJSON(t, r)
	var got map[string]any
	if err := json.Unmarshal(r.Body, &got); err != nil {
		t.Fatalf("body %q: %v", r.Body, err)
	}
	msg, _ = got["msg"].(string)
	if len(got) != 2 || got["code"] != -1.0 || msg == "" {
		t.Fatalf("body %s, want code -1 and a msg", r.Body)
	}
	return msg
}

func wantJSON(t *testing.T, r *wsclient.Response) {
	t.Helper()
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if kind != "application/json" {
		t.Errorf("Content-Type %q", r.Header.Get("Content-Type"))
	}
}

func TestPushAnswer(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	for _, c := range []struct {
		name, body                         string
		event, delay, target, broad, token string // JSON; "" is not judged
	}{
		{"unicast", `{"event_name":"e","subject":{},"delay_seconds":0,"token":"USER_123"}`, `"e"`, `0`, `"USER_123"`, `false`, `"USER_123"`},
		{"number", `{"event_name":"e","subject":1,"token":1e3}`, `"e"`, `0`, `"1000"`, `false`, `1e3`},
		{"object", `{"event_name":"e","subject":1,"token":{ "id":"x" }}`, `"e"`, `0`, `"x"`, `false`, `{ "id":"x" }`},
		{"broadcast", `{"event_name":"e","subject":null}`, `"e"`, `0`, ``, `true`, `null`},
		{"delayed", `{"event_name":"e","subject":1,"delay_seconds":3600,"token":"a"}`, `"e"`, `3600`, `"a"`, `false`, `"a"`},
		{"in the past", `{"event_name":"e","subject":1,"delay_seconds":-5}`, `"e"`, ``, ``, `true`, `null`},
		{"unknown fields", `{"x":1,"event_name":"e","subject":1,"Token":"no","sub":{"token":"no"}}`, `"e"`, `0`, ``, `true`, `null`},
		{"escaped event", `{"event_name":"\u0041\"\n","subject":1}`, `"A\"\n"`, `0`, ``, `true`, `null`},
		{"escaped key", `{"event\u005fname":"e","subject":1}`, `"e"`, `0`, ``, `true`, `null`},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer := post(t, p, c.body)
			wantJSON(t, answer)
			data := push(t, p, c.body)
			for key, want := range map[string]string{
				"delay_seconds": c.delay, "target_user_id": c.target, "broadcast": c.broad, "parsed_user_raw": c.token,
			} {
				got, ok := data[key]
				if !ok || want != "" && string(got) != want {
					t.Errorf("%s = %s, want %s", key, got, want)
				}
			}
			if got, want := unquote(t, data["event_name"]), unquote(t, json.RawMessage(c.event)); got != want {
				t.Errorf("event_name = %q, want %q", got, want)
			}
		})
	}
}

// refused are bodies with the reason's status; nothing of them is delivered.
var refused = []struct {
	name, body string
	notJSON    bool
}{
	{"empty", ``, true},
	{"space", ` `, true},
	{"text", `hello`, true},
	{"cut off", `{"event_name":"e","subject":1`, true},
	{"two objects", `{"event_name":"e","subject":1}{"event_name":"e","subject":1}`, true},
	{"trailing text", `{"event_name":"e","subject":1} x`, true},
	{"array", `[{"event_name":"e","subject":1}]`, true},
	{"string", `"event_name"`, true},
	{"number", `5`, true},
	{"null", `null`, true},
	{"trailing comma", `{"event_name":"e","subject":1,}`, true},
	{"single quotes", `{'event_name':'e','subject':1}`, true},
	{"bad number", `{"event_name":"e","subject":01}`, true},
	{"bare minus", `{"event_name":"e","subject":-}`, true},
	{"plus", `{"event_name":"e","subject":+1}`, true},
	{"lone point", `{"event_name":"e","subject":1.}`, true},
	{"NaN", `{"event_name":"e","subject":NaN}`, true},
	{"bad escape", `{"event_name":"e","subject":"\x41"}`, true},
	{"half an escape", `{"event_name":"e","subject":"\u00"}`, true},
	{"control character", "{\"event_name\":\"e\",\"subject\":\"a\nb\"}", true},
	{"bad literal", `{"event_name":"e","subject":nul}`, true},
	{"subject cut off", `{"event_name":"e","subject":[1,2}`, true},
	{"bad token", `{"event_name":"e","subject":1,"token":{"a":01}}`, true},
	{"form", `event_name=e&subject=1`, true},

	{"no event_name", `{"subject":1}`, false},
	{"empty event_name", `{"event_name":"","subject":1}`, false},
	{"event_name null", `{"event_name":null,"subject":1}`, false},
	{"event_name number", `{"event_name":5,"subject":1}`, false},
	{"event_name object", `{"event_name":{},"subject":1}`, false},
	{"event_name in other case", `{"Event_Name":"e","subject":1}`, false},
	{"no subject", `{"event_name":"e"}`, false},
	{"empty object", `{}`, false},
	{"delay string", `{"event_name":"e","subject":1,"delay_seconds":"5"}`, false},
	{"delay fraction", `{"event_name":"e","subject":1,"delay_seconds":1.5}`, false},
	{"delay object", `{"event_name":"e","subject":1,"delay_seconds":{}}`, false},
	{"delay true", `{"event_name":"e","subject":1,"delay_seconds":true}`, false},
	{"delay past every limit", `{"event_name":"e","subject":1,"delay_seconds":99999999999999999999999}`, false},
	{"delay past int64 in ns", `{"event_name":"e","subject":1,"delay_seconds":9223372036854775807}`, false},
	{"delay exponent", `{"event_name":"e","subject":1,"delay_seconds":1e300}`, false},
}

func TestPushRefused(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	c := r.Dial(t, "/ws?token=a")
	settle(t, c)
	for _, row := range refused {
		t.Run(row.name, func(t *testing.T) {
			msg := wantRefusal(t, post(t, p, row.body), 400)
			if row.notJSON && !strings.HasPrefix(msg, "invalid json") {
				t.Errorf("msg %q, want invalid json", msg)
			}
			if !row.notJSON && strings.Contains(msg, "invalid json") {
				t.Errorf("msg %q does not say which field is wrong", msg)
			}
		})
	}
	push(t, p, `{"event_name":"last","subject":1}`)
	wantEvent(t, c, "last")
}

func TestPushMethods(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	for _, method := range []string{"GET", "PUT", "DELETE", "PATCH", "OPTIONS"} {
		t.Run(method, func(t *testing.T) {
			answer, err := p.Do(method, relaytest.PushPath, nil, "X-API-KEY: "+relaytest.Key)
			if err != nil {
				t.Fatal(err)
			}
			wantRefusal(t, answer, 405)
			if allow := answer.Header.Get("Allow"); allow != "POST" && allow != "POST, OPTIONS" && allow != "OPTIONS, POST" {
				t.Errorf("Allow %q", allow)
			}
		})
	}
}

func TestPushTooLarge(t *testing.T) {
	const limit = 4096
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"max_push_bytes": limit}})
	p := r.Publisher(t)
	c := r.Dial(t, "/ws")
	settle(t, c)
	fill := func(n int) string {
		frame := `{"event_name":"e","subject":""}`
		return frame[:len(frame)-2] + repeat("x", n-len(frame)) + frame[len(frame)-2:]
	}
	if got := post(t, p, fill(limit)); got.Status != 200 {
		t.Fatalf("%d bytes: status %d, want 200", limit, got.Status)
	}
	wantEvent(t, c, "e")
	for _, n := range []int{limit + 1, 10 * limit, 1 << 20} {
		t.Run(fmt.Sprint(n), func(t *testing.T) { wantRefusal(t, post(t, p, fill(n)), 413) })
	}
	chunked := func(n int) *wsclient.Response {
		body := fill(n)
		answer, err := p.Raw([]byte("POST /api/push HTTP/1.1\r\nHost: a\r\nX-API-KEY: " + relaytest.Key +
			"\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)))
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	t.Run("chunked", func(t *testing.T) {
		if got := chunked(limit); got.Status != 200 {
			t.Fatalf("status %d %s, want 200", got.Status, got.Body)
		}
		wantEvent(t, c, "e")
		wantRefusal(t, chunked(limit+1), 413)
	})
	push(t, p, `{"event_name":"last","subject":1}`)
	wantEvent(t, c, "last")
}

func TestPushExpectContinue(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	c, err := wsclient.Dialer{Addr: r.Addr}.DialRaw(fmt.Appendf(nil,
		"POST /api/push HTTP/1.1\r\nHost: a\r\nX-API-KEY: %s\r\nExpect: 100-continue\r\nContent-Length: 30\r\n\r\n", relaytest.Key))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if answer, err := c.ReadResponse(); err != nil || answer.Status != http.StatusContinue {
		t.Fatalf("got %+v %v, want 100", answer, err)
	}
	if err := c.Send([]byte(`{"event_name":"e","subject":1}`)); err != nil {
		t.Fatal(err)
	}
	if answer, err := c.ReadResponse(); err != nil || answer.Status != 200 {
		t.Fatalf("got %+v %v, want 200", answer, err)
	}
}
