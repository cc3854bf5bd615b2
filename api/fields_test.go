package api

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"gorelay/internal/wsclient"
)

// The fields of a push beyond those that the first relay knew.

func TestFieldsRefused(t *testing.T) {
	long := "[" + strings.Repeat("1,", maxTargets) + "1]"
	for _, test := range []struct{ name, fields, msg string }{
		{"deliver_at fraction", `"deliver_at":1.5`, "deliver_at must be an integer"},
		{"deliver_at string", `"deliver_at":"1733890000000"`, "deliver_at must be an integer"},
		{"deliver_at true", `"deliver_at":true`, "deliver_at must be an integer"},
		{"deliver_at bomb", `"deliver_at":1e999999999`, "deliver_at must be an integer"},
		{"deliver_at too far", `"deliver_at":1e30`, "deliver_at must be at most 1000 seconds ahead"},
		{"deliver_at a little too far", `"deliver_at":1000000001000001`, "deliver_at must be at most 1000 seconds ahead"},
		{"both times", `"deliver_at":1,"delay_seconds":1`, "must not both be given"},
		{"both times, at once", `"deliver_at":1,"delay_seconds":0`, "must not both be given"},
		{"include_id number", `"include_id":1`, "include_id must be true or false"},
		{"include_id string", `"include_id":"true"`, "include_id must be true or false"},
		{"tokens object", `"tokens":{"id":1}`, "tokens must be an array"},
		{"tokens string", `"tokens":"a"`, "tokens must be an array"},
		{"no tokens", `"tokens":[]`, "tokens must not be empty"},
		{"no tokens, spaces", `"tokens":[ ]`, "tokens must not be empty"},
		{"too many tokens", `"tokens":` + long, "tokens must have at most 1000 elements"},
		{"null among tokens", `"tokens":["a",null]`, "tokens[1] names nobody"},
		{"empty string among tokens", `"tokens":["",1]`, "tokens[0] names nobody"},
		{"empty object among tokens", `"tokens":[{}]`, "tokens[0] names nobody"},
		{"list among tokens", `"tokens":[[]]`, "tokens[0] names nobody"},
		{"true among tokens", `"tokens":[true]`, "tokens[0] names nobody"},
		{"bomb among tokens", `"tokens":[1,2,1e999999]`, "tokens[2] must be a number that can be written out"},
		{"token and tokens", `"token":"a","tokens":["b"]`, "token and tokens must not both be given"},
		{"unusable token and tokens", `"token":"","tokens":["b"]`, "token and tokens must not both be given"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, refused := readPush([]byte(`{"event_name":"e","subject":1,`+test.fields+`}`), testMaxDelay)
			if refused == nil {
				o := DefaultOptions()
				o.MaxDelay = testMaxDelay
				refused = p.settle(time.UnixMilli(1_000_000_000_000_000), &o)
			}
			if refused == nil || refused.status != 400 || !strings.Contains(refused.msg, test.msg) {
				t.Fatalf("%+v, want %q", refused, test.msg)
			}
		})
	}
}

func TestFieldsAccepted(t *testing.T) {
	const now = 1_733_890_000_000
	for _, test := range []struct {
		name, fields string
		due          int64
		includeID    bool
		users        string
	}{
		{"all null", `"deliver_at":null,"include_id":null,"tokens":null,"broadcast":null,"delay_seconds":null`, noTime, false, ""},
		{"now", `"deliver_at":1733890000000`, noTime, false, ""},
		{"past", `"deliver_at":-1e300`, noTime, false, ""},
		{"next", `"deliver_at":1733890000001`, now + 1, false, ""},
		{"other form", `"deliver_at":17338900005e2`, now + 500, false, ""},
		{"furthest", `"deliver_at":1733891000000`, now + 1_000_000, false, ""},
		{"null delay", `"deliver_at":1733890000001,"delay_seconds":null`, now + 1, false, ""},
		{"null time", `"deliver_at":null,"delay_seconds":2`, now + 2000, false, ""},
		{"last wins", `"deliver_at":"x","deliver_at":1733890000001`, now + 1, false, ""},
		{"id", `"include_id":true`, noTime, true, ""},
		{"no id", `"include_id":false`, noTime, false, ""},
		{"tokens", `"tokens":["a",1e3,{"user_id":"b"}]`, noTime, false, "a,1000,b"},
		{"tokens twice", `"tokens":[1,"1",1.0,{"id":1},"a",{"id":"\u0061"}]`, noTime, false, "1,a"},
		{"null token", `"token":null,"tokens":["a"]`, noTime, false, "a"},
		{"null tokens", `"token":"a","tokens":null`, noTime, false, ""},
		{"broadcast of any type", `"broadcast":"yes"`, noTime, false, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, refused := readPush([]byte(`{"event_name":"e","subject":1,`+test.fields+`}`), testMaxDelay)
			if refused != nil {
				t.Fatal(refused)
			}
			o := DefaultOptions()
			o.MaxDelay = testMaxDelay
			if refused := p.settle(time.UnixMilli(now), &o); refused != nil {
				t.Fatal(refused)
			}
			if p.due != test.due || p.includeID != test.includeID || strings.Join(p.tokens, ",") != test.users {
				t.Fatalf("due %d, id %t, users %q", p.due, p.includeID, p.tokens)
			}
		})
	}
}

func TestExplicitBroadcast(t *testing.T) {
	const naming = "say \"broadcast\": true"
	for _, test := range []struct{ fields, msg string }{ // msg "" is accepted
		{``, naming},
		{`,"token":null`, naming},
		{`,"token":""`, naming},
		{`,"token":[]`, naming},
		{`,"broadcast":false`, naming},
		{`,"broadcast":null`, naming},
		{`,"broadcast":"true"`, "broadcast must be true or false"},
		{`,"broadcast":1,"token":"a"`, "broadcast must be true or false"},
		{`,"broadcast":true,"token":"a"`, "broadcast must not be true"},
		{`,"broadcast":true,"tokens":["a"]`, "broadcast must not be true"},
		{`,"broadcast":true`, ""},
		{`,"broadcast":true,"token":{}`, ""},
		{`,"broadcast":true,"delay_seconds":5`, ""},
		{`,"broadcast":false,"token":"a"`, ""},
		{`,"token":"a"`, ""},
		{`,"tokens":["a"]`, ""},
	} {
		t.Run(test.fields, func(t *testing.T) {
			p, refused := readPush([]byte(`{"event_name":"e","subject":1`+test.fields+`}`), testMaxDelay)
			if refused != nil {
				t.Fatal(refused)
			}
			o := DefaultOptions()
			o.RequireExplicitBroadcast = true
			refused = p.settle(time.Now(), &o)
			if (refused == nil) != (test.msg == "") || refused != nil && !strings.Contains(refused.msg, test.msg) {
				t.Fatalf("%+v, want %q", refused, test.msg)
			}
		})
	}
	r := startRelay(t, func(o *Options, _ *recorder) { o.RequireExplicitBroadcast = true })
	r.dial(t).post(`{"event_name":"e","subject":1}`).wantRefusal(400, naming)
	r.dial(t).post(`{"event_name":"e","subject":1,"broadcast":true}`).wantStatus(200)
	if calls := r.recorder.take(); len(calls) != 1 || calls[0].kind != "broadcast" {
		t.Fatalf("deliveries %+v", calls)
	}
}

// The whole text of the answers, with the id and the time that they name.
func TestAnswerNamesThePush(t *testing.T) {
	r := startRelay(t)
	p := r.dial(t)
	at := strconv.FormatInt(inSeconds(500), 10)
	for _, test := range []struct{ name, fields, call, data string }{
		{"at once", `,"token":"u"`, "send u",
			`"delay_seconds":0,"target_user_id":"u","broadcast":false,"parsed_user_raw":"u","id":"%s","matched":3`},
		{"deliver_at", `,"token":"u","deliver_at":` + at, "schedule u",
			`"delay_seconds":0,"target_user_id":"u","broadcast":false,"parsed_user_raw":"u","id":"%s","deliver_at":` + at},
		{"past", `,"token":"u","deliver_at":5`, "send u",
			`"delay_seconds":0,"target_user_id":"u","broadcast":false,"parsed_user_raw":"u","id":"%s","matched":3`},
		{"tokens", `,"tokens":["u",7,"u"]`, "multicast u,7",
			`"delay_seconds":0,"target_user_id":"","broadcast":false,"parsed_user_raw":null,"id":"%s","matched":5,"targets":2`},
		{"delayed tokens", `,"tokens":["u",7],"deliver_at":` + at, "schedule u,7",
			`"delay_seconds":0,"target_user_id":"","broadcast":false,"parsed_user_raw":null,"id":"%s","deliver_at":` + at + `,"targets":2`},
	} {
		t.Run(test.name, func(t *testing.T) {
			p.t = t
			a := p.post(`{"event_name":"e","subject":1` + test.fields + `}`).read("POST")
			const head = `{"code":0,"msg":"ok","data":{"event_name":"e",`
			_, rest, _ := strings.Cut(a.body, `"id":"`)
			id, _, _ := strings.Cut(rest, `"`)
			if want := head + fmt.Sprintf(test.data, id) + "}}"; a.StatusCode != 200 || a.body != want {
				t.Fatalf("got %d %s, want %s", a.StatusCode, a.body, want)
			}
			if !versionSeven.MatchString(id) {
				t.Errorf("id %s", id)
			}
			calls := r.recorder.take()
			if len(calls) != 1 || calls[0].kind+" "+calls[0].user != test.call {
				t.Fatalf("deliveries %+v, want %s", calls, test.call)
			}
		})
	}
}

func TestMessageCarriesItsIDIfAsked(t *testing.T) {
	r := startRelay(t)
	p := r.dial(t)
	for _, fields := range []string{``, `,"token":"u"`, `,"token":"u","delay_seconds":5`, `,"tokens":["u"]`} {
		data := p.post(`{"event_name":"e","subject":1,"include_id":true` + fields + `}`).wantData()
		calls := r.recorder.take()
		token := "null"
		if strings.Contains(fields, `"token":`) {
			token = `"u"`
		}
		want := `,"token":` + token + `,"id":"` + data.ID + `"}}`
		if len(calls) != 1 || !strings.HasSuffix(calls[0].payload, want) {
			t.Errorf("%s: %+v, want …%s", fields, calls, want)
		}
	}
	p.post(`{"event_name":"e","subject":1,"include_id":false}`).wantStatus(200)
	if calls := r.recorder.take(); len(calls) != 1 || strings.Contains(calls[0].payload, `"id"`) {
		t.Errorf("not asked for: %+v", calls)
	}
}

// One frame for several users, each connection once.
func TestTokensReachEachUserOnce(t *testing.T) {
	r, dialer := startOnEngine(t)
	a, again, b, other := connect(t, dialer, "/ws?token=a"), connect(t, dialer, "/ws?token=a"), connect(t, dialer, "/ws?token=7"), connect(t, dialer, "/ws?token=c")
	data := r.dial(t).post(`{"event_name":"e","subject":1,"tokens":["a",7,"a","nobody"]}`).wantData()
	if data.Matched == nil || *data.Matched != 3 || data.Targets != 3 {
		t.Fatalf("matched %v, targets %d", data.Matched, data.Targets)
	}
	for _, c := range []*wsclient.Conn{a, again, b} {
		if got := receive(t, c); !strings.HasPrefix(got, `{"event":"e","data":{"subject":1,"ts":`) || !strings.HasSuffix(got, `,"token":null}}`) {
			t.Fatalf("got %s", got)
		}
		wantNothing(t, c)
	}
	wantNothing(t, other)
}
