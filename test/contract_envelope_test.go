package test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"gorelay/internal/relaytest"
)

// subjects are JSON values that a parser which is not careful would change.
var subjects = []struct{ name, json string }{
	{"object", `{"any":"payload"}`},
	{"null", `null`},
	{"false", `false`},
	{"string", `"text"`},
	{"empty string", `""`},
	{"empty containers", `[{},[],""]`},
	{"key order", `{"z":1,"a":2,"m":{"y":1,"b":2}}`},
	{"duplicate keys", `{"a":1,"a":2,"a":1}`},
	{"big integer", `123456789012345678901234567890`},
	{"2^53+1", `9007199254740993`},
	{"exponents", `[1e3,1E+3,1e-7,1.50e0,-0,-0.0,0e0]`},
	{"long fraction", `0.1000000000000000055511151231257827`},
	{"huge exponent", `[1e999,-1E-999]`},
	{"escapes", `"\"\\\/\b\f\n\r\t\u0000\u001f\u007f\u2028"`},
	{"escaped ASCII", `"\u0041\u003c\u003e\u0026"`},
	{"HTML", `"<script>&amp;</script>"`},
	{"surrogates escaped", `"\ud83d\ude00 \uD83D\uDE00"`},
	{"lone surrogate escaped", `"\ud800"`},
	{"unicode", `"日本語 😀 é \u00e9"`},
	{"escaped keys", `{"\u0061":1,"a":2,"":3,"\n":4}`},
	{"whitespace", "{ \"a\" :\t[ 1 ,\r\n 2 ] , \"b\":{ } }"},
	{"nested envelope", `{"event":"x","data":{"subject":1,"ts":2,"token":3}}`},
	{"125 bytes", `"` + strings.Repeat("a", 123) + `"`},
	{"64 KiB", `"` + strings.Repeat("é", 32<<10) + `"`},
	{"nested 100 deep", strings.Repeat("[", 100) + strings.Repeat("]", 100)},
}

// tokenKinds are tokens that all reach a connection without a token.
var tokenKinds = []string{`null`, `""`, `{}`, `[]`, `true`, `false`, `[1,"a"]`, `{"name":"x"}`, `[ { "id" : 1 } ]`, `{"id":null}`}

// splitEnvelope checks the exact shape and returns what may vary.
func splitEnvelope(t *testing.T, raw, event, subject, token string) (ts string) {
	t.Helper()
	head := `{"event":` + event + `,"data":{"subject":` + subject + `,"ts":`
	tail := `,"token":` + token + `}}`
	ts, ok := strings.CutPrefix(raw, head)
	if ok {
		ts, ok = strings.CutSuffix(ts, tail)
	}
	if !ok || !regexp.MustCompile(`^[0-9]{13}$`).MatchString(ts) {
		t.Fatalf("envelope\n got %.400q\nwant %.400q", raw, head+"<13 digits>"+tail)
	}
	return ts
}

func TestEnvelope(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	c := r.Dial(t, "/ws")
	settle(t, c)

	t.Run("subject", func(t *testing.T) {
		for _, s := range subjects {
			t.Run(s.name, func(t *testing.T) {
				push(t, p, `{"event_name":"eventName","subject":`+s.json+`}`)
				_, raw := readEnvelope(t, c)
				splitEnvelope(t, raw, `"eventName"`, s.json, `null`)
			})
		}
	})
	t.Run("whitespace around", func(t *testing.T) {
		push(t, p, " {\r\n\t\"token\" :  [ 1, 2 ]  , \"subject\" : { \"a\" : 1 } ,\"event_name\":\"e\"\n} \n")
		_, raw := readEnvelope(t, c)
		splitEnvelope(t, raw, `"e"`, `{ "a" : 1 }`, `[ 1, 2 ]`)
	})
	t.Run("token as it came", func(t *testing.T) {
		for _, token := range tokenKinds {
			t.Run(token, func(t *testing.T) {
				data := push(t, p, `{"event_name":"e","subject":1,"token":`+token+`}`)
				_, raw := readEnvelope(t, c)
				splitEnvelope(t, raw, `"e"`, `1`, token)
				if string(data["broadcast"]) != "true" {
					t.Errorf("broadcast = %s", data["broadcast"])
				}
			})
		}
	})
	t.Run("event", func(t *testing.T) {
		for _, event := range []string{`"a b"`, `"日本"`, `"\"quoted\""`, `"back\\slash"`, `"\u0041\n\u0000"`, `"<&>"`, `" "`} {
			t.Run(event, func(t *testing.T) {
				push(t, p, `{"event_name":`+event+`,"subject":0}`)
				e, raw := readEnvelope(t, c)
				var want string
				if err := json.Unmarshal([]byte(event), &want); err != nil {
					t.Fatal(err)
				}
				if e.Event != want || !strings.HasPrefix(raw, `{"event":"`) {
					t.Errorf("got %q in %s, want %q", e.Event, raw, want)
				}
			})
		}
	})
	t.Run("ts", func(t *testing.T) {
		before := time.Now().UnixMilli()
		push(t, p, `{"event_name":"e","subject":0}`)
		_, raw := readEnvelope(t, c)
		after := time.Now().UnixMilli()
		var ts int64
		if _, err := fmt.Sscan(splitEnvelope(t, raw, `"e"`, `0`, `null`), &ts); err != nil {
			t.Fatal(err)
		}
		if ts < before || ts > after {
			t.Errorf("ts %d is not between the push %d and the arrival %d", ts, before, after)
		}
	})
}

// TestEnvelopeIsUTF8 holds the relay to RFC 6455 section 5.6 whatever a
// publisher sends: bytes that are not UTF-8 are refused, or mended.
func TestEnvelopeIsUTF8(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	c := r.Dial(t, "/ws")
	settle(t, c)
	for _, bad := range []string{"\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"} {
		for _, body := range []string{
			`{"event_name":"bad","subject":"` + bad + `"}`,
			`{"event_name":"bad` + bad + `","subject":1}`,
			`{"event_name":"bad","subject":{"` + bad + `":1}}`,
			`{"event_name":"bad","subject":1,"token":["` + bad + `"]}`,
		} {
			answer := post(t, p, body)
			if !utf8.Valid(answer.Body) {
				t.Errorf("%q: the answer is not UTF-8: %q", body, answer.Body)
			}
			switch answer.Status {
			case 400:
			case 200:
				if _, _, err := c.ReadMessage(); err != nil { // judges the UTF-8
					t.Fatalf("%q: %v", body, err)
				}
			default:
				t.Errorf("%q: status %d", body, answer.Status)
			}
		}
	}
	settle(t, c)
}
