package api

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"gorelay/engine"

	"github.com/gobwas/ws"
)

const testMaxDelay = 1000 * time.Second

func TestReadPushRefuses(t *testing.T) {
	const good = `"event_name":"e","subject":1`
	for _, test := range []struct{ name, body, msg string }{
		{"no event_name", `{"subject":1}`, "event_name is missing"},
		{"null event_name", `{"event_name":null,"subject":1}`, "event_name must be a string"},
		{"number event_name", `{"event_name":5,"subject":1}`, "event_name must be a string"},
		{"object event_name", `{"event_name":{},"subject":1}`, "event_name must be a string"},
		{"empty event_name", `{"event_name":"","subject":1}`, "event_name must not be empty"},
		{"last event_name", `{"event_name":"e","subject":1,"event_name":""}`, "event_name must not be empty"},
		{"no subject", `{"event_name":"e"}`, "subject is missing"},
		{"subject in another case", `{"event_name":"e","Subject":1}`, "subject is missing"},
		{"delay fraction", `{` + good + `,"delay_seconds":1.5}`, "delay_seconds must be an integer"},
		{"delay string", `{` + good + `,"delay_seconds":"5"}`, "delay_seconds must be an integer"},
		{"delay true", `{` + good + `,"delay_seconds":true}`, "delay_seconds must be an integer"},
		{"delay array", `{` + good + `,"delay_seconds":[5]}`, "delay_seconds must be an integer"},
		{"delay too long", `{` + good + `,"delay_seconds":1001}`, "delay_seconds must be at most 1000"},
		{"delay past int64", `{` + good + `,"delay_seconds":1e30}`, "delay_seconds must be at most 1000"},
		{"delay bomb", `{` + good + `,"delay_seconds":1e999999999}`, "delay_seconds must be an integer"},
		{"delay dust", `{` + good + `,"delay_seconds":1e-999999999}`, "delay_seconds must be an integer"},
		{"token bomb", `{` + good + `,"token":1e999999999}`, "token must be a number"},
		{"token bomb in an object", `{` + good + `,"token":{"id":-1e999999999}}`, "token must be a number"},
		{"bad UTF-8 in subject", "{\"event_name\":\"e\",\"subject\":\"\xff\"}", "invalid json"},
		{"bad UTF-8 elsewhere", "{" + good + ",\"x\":\"\xed\xa0\x80\"}", "invalid json"},
		{"too deep", `{` + good + `,"x":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}`, "nested deeper than 300"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, refused := readPush([]byte(test.body), testMaxDelay)
			if refused == nil || refused.status != 400 || !strings.Contains(refused.msg, test.msg) {
				t.Fatalf("%s: %+v, want %q", test.body, refused, test.msg)
			}
		})
	}
	for _, body := range notObjects {
		if _, refused := readPush([]byte(body), testMaxDelay); refused != refusedJSON || refused.msg != "invalid json" {
			t.Errorf("%q: %+v, want invalid json", body, refused)
		}
	}
}

func TestReadPushAccepts(t *testing.T) {
	for _, test := range []struct {
		name, body           string
		event, subject, user string
		delay                int64
	}{
		{"least", `{"event_name":"e","subject":null}`, `"e"`, `null`, "", 0},
		{"all", `{"event_name":"e","subject":{"any":"payload"},"delay_seconds":5,"token":"u"}`, `"e"`, `{"any":"payload"}`, "u", 5},
		{"other order", `{"token":7,"delay_seconds":0,"subject":[],"event_name":"e"}`, `"e"`, `[]`, "7", 0},
		{"unknown fields", `{"x":[{"subject":9}],"event_name":"e","subject":false,"y":null}`, `"e"`, `false`, "", 0},
		{"null delay", `{"event_name":"e","subject":1,"delay_seconds":null}`, `"e"`, `1`, "", 0},
		{"delay 5.0", `{"event_name":"e","subject":1,"delay_seconds":5.0}`, `"e"`, `1`, "", 5},
		{"delay 5e1", `{"event_name":"e","subject":1,"delay_seconds":5e1}`, `"e"`, `1`, "", 50},
		{"negative delay", `{"event_name":"e","subject":1,"delay_seconds":-5}`, `"e"`, `1`, "", -5},
		{"longest delay", `{"event_name":"e","subject":1,"delay_seconds":1e3}`, `"e"`, `1`, "", 1000},
		{"escaped names", `{"event\u005fname":"e","\u0073ubject":1,"\u0074oken":"u"}`, `"e"`, `1`, "u", 0},
		{"escaped event", `{"event_name":"\u00e9\"","subject":1}`, `"\u00e9\""`, `1`, "", 0},
		{"last wins", `{"event_name":"e","subject":1,"subject":2,"event_name":"f"}`, `"f"`, `2`, "", 0},
		{"subject untouched", `{"event_name":"e","subject": { "b" : 1.10, "a":"\/" } }`, `"e"`, `{ "b" : 1.10, "a":"\/" }`, "", 0},
		{"surrogate escape", `{"event_name":"e","subject":"\ud800"}`, `"e"`, `"\ud800"`, "", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, refused := readPush([]byte(test.body), testMaxDelay)
			if refused != nil {
				t.Fatal(refused)
			}
			if string(p.event) != test.event || string(p.subject) != test.subject || p.user != test.user || p.delay != test.delay {
				t.Fatalf("got %s %s %q %d", p.event, p.subject, p.user, p.delay)
			}
		})
	}
}

func TestEncode(t *testing.T) {
	const ms = 1733890000000
	for _, test := range []struct {
		name string
		push push
		ms   int64
		want string
	}{
		{"token", push{event: []byte(`"e"`), subject: []byte(`{"any":"payload"}`), token: []byte(`"USER_123"`)}, ms,
			`{"event":"e","data":{"subject":{"any":"payload"},"ts":1733890000000,"token":"USER_123"}}`},
		{"no token", push{event: []byte(`"e"`), subject: []byte(`1`)}, ms,
			`{"event":"e","data":{"subject":1,"ts":1733890000000,"token":null}}`},
		{"clock before 2001", push{event: []byte(`"e"`), subject: []byte(`1`)}, 5,
			`{"event":"e","data":{"subject":1,"ts":1000000000000,"token":null}}`},
		{"clock after 2286", push{event: []byte(`"e"`), subject: []byte(`1`)}, 1 << 60,
			`{"event":"e","data":{"subject":1,"ts":9999999999999,"token":null}}`},
		{"16-bit length", push{event: []byte(`"e"`), subject: []byte(`"` + strings.Repeat("x", 200) + `"`)}, ms,
			`{"event":"e","data":{"subject":"` + strings.Repeat("x", 200) + `","ts":1733890000000,"token":null}}`},
		{"64-bit length", push{event: []byte(`"e"`), subject: []byte(`"` + strings.Repeat("x", 70000) + `"`)}, ms,
			`{"event":"e","data":{"subject":"` + strings.Repeat("x", 70000) + `","ts":1733890000000,"token":null}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			frame, stamp := encode(&test.push, test.ms)
			payload := payloadOf(t, frame)
			if string(payload) != test.want {
				t.Fatalf("got %.200s", payload)
			}
			want := strings.Index(test.want, `,"ts":`) + len(`,"ts":`)
			if stamp != want {
				t.Fatalf("stamp at %d, want %d", stamp, want)
			}
		})
	}
}

// payloadOf takes a frame apart as a client would.
func payloadOf(t testing.TB, f engine.Frame) []byte {
	t.Helper()
	wire := reflect.ValueOf(f).FieldByName("wire").Bytes()
	r := bytes.NewReader(wire)
	h, err := ws.ReadHeader(r)
	if err != nil || !h.Fin || h.Masked || h.OpCode != ws.OpText || h.Length != int64(r.Len()) || f.Len() != len(wire) {
		t.Fatalf("frame header %+v, %v, %d bytes behind it", h, err, r.Len())
	}
	return wire[len(wire)-r.Len():]
}

// FuzzPush sends a body through everything but the socket and compares with
// encoding/json.
func FuzzPush(f *testing.F) {
	f.Add([]byte(`{"event_name":"eventName","subject":{"any":"payload"},"delay_seconds":0,"token":"USER_123"}`))
	f.Add([]byte(`{"event\u005fname":"\ud800","subject": [1.0 ,null] ,"delay_seconds":5e-1,"token":{"user_id":1e3}}`))
	f.Add([]byte("{\"event_name\":\"e\",\"subject\":\"\xff\"}"))
	f.Add([]byte("{\"event_name\":\"e\",\"subject\":\"\x01\\n\",\"token\":-0}"))
	f.Add([]byte(`{"event_name":"e","subject":1,"delay_seconds":1e99999,"token":1e99999}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		checkReadObject(t, body)
		p, refused := readPush(body, testMaxDelay)
		var fields map[string]json.RawMessage
		isPush := utf8.Valid(body) && depthOf(body) <= maxDepth && json.Unmarshal(body, &fields) == nil
		var event string // stays empty for what is not a string
		_ = json.Unmarshal(fields["event_name"], &event)
		isPush = isPush && event != "" && fields["subject"] != nil
		if refused != nil {
			if isPush && !strings.HasPrefix(refused.msg, "delay_seconds") && !strings.HasPrefix(refused.msg, "token") {
				t.Fatalf("refused %q: %s", body, refused.msg)
			}
			return
		}
		if !isPush {
			t.Fatalf("accepted %q", body)
		}
		if delay := fields["delay_seconds"]; delay != nil && string(delay) != "null" {
			if want, err := strconv.ParseFloat(string(delay), 64); err != nil || float64(p.delay) != want && want > -9e18 {
				t.Fatalf("delay %s became %d", delay, p.delay)
			}
		}
		frame, stamp := encode(&p, 1733890000000)
		payload := payloadOf(t, frame)
		checkEnvelope(t, payload, stamp, fields)
		if answer := appendAccepted(nil, &p, 3); !json.Valid(answer) {
			t.Fatalf("answer %q", answer)
		}
	})
}

// checkEnvelope compares a payload with the fields of its push, byte for byte.
func checkEnvelope(t *testing.T, payload []byte, stamp int, fields map[string]json.RawMessage) {
	t.Helper()
	var got struct {
		Event json.RawMessage
		Data  struct{ Subject, TS, Token json.RawMessage }
	}
	if !utf8.Valid(payload) || json.Unmarshal(payload, &got) != nil {
		t.Fatalf("payload %q is not JSON", payload)
	}
	token := fields["token"]
	if token == nil {
		token = json.RawMessage("null")
	}
	if !bytes.Equal(got.Event, fields["event_name"]) || !bytes.Equal(got.Data.Subject, fields["subject"]) ||
		!bytes.Equal(got.Data.Token, token) || string(got.Data.TS) != "1733890000000" ||
		string(payload[stamp:stamp+stampDigits]) != "1733890000000" {
		t.Fatalf("payload %q for %q", payload, fields)
	}
}
