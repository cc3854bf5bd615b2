package test

import (
	"net/url"
	"testing"

	"gorelay/internal/relaytest"
)

// targets are tokens of a push that name one user, and the user.
var targets = []struct{ token, user string }{
	{`"USER_123"`, "USER_123"},
	{`123`, "123"},
	{`0`, "0"},
	{`-5`, "-5"},
	{`1e3`, "1000"},
	{`1E+2`, "100"},
	{`12e1`, "120"},
	{`1.5`, "1.5"},
	{`9007199254740993`, "9007199254740993"},
	{`123456789012345678901234567890`, "123456789012345678901234567890"},
	{`{"id":"a"}`, "a"},
	{`{"id":7}`, "7"},
	{`{"id":1e3}`, "1000"},
	{`{"user_id":"b"}`, "b"},
	{`{"user_id":8}`, "8"},
	{`{"user_id":"second","id":"first"}`, "first"},
	{`{"id":null,"user_id":"other"}`, "other"},
	{`{ "name" : "x" , "id" : "spaced" }`, "spaced"},
	{`"\u0041BC"`, "ABC"},
	{`"日本 😀"`, "日本 😀"},
	{`"\ud83d\ude00"`, "😀"},
	{`"a b+c&d=e%20/?#"`, "a b+c&d=e%20/?#"},
	{`"123abc"`, "123abc"},
	{`" "`, " "},
	{`"null"`, "null"},
	{`"1e3"`, "1e3"},
	{`"\"q\"\\"`, `"q"\`},
}

// everyone are tokens of a push that name no user.
var everyone = []string{``, `null`, `""`, `{}`, `[]`, `true`, `false`, `[1]`, `["a"]`, `{"name":"x"}`, `{"id":true}`, `{"id":{"id":1}}`, `{"ID":"a"}`}

func TestTokenNamesUser(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	other := r.Dial(t, "/ws?token=someone-else")
	bare := r.Dial(t, "/ws")
	settle(t, other)
	settle(t, bare)

	for _, c := range targets {
		t.Run(c.token, func(t *testing.T) {
			byQuery := r.Dial(t, "/ws?token="+url.QueryEscape(c.user))
			byMessage := r.Dial(t, "/ws")
			defer byQuery.Close()
			defer byMessage.Close()
			settle(t, byQuery)
			identify(t, byMessage, quote(c.user))

			data := push(t, p, `{"event_name":"one","subject":1,"token":`+c.token+`}`)
			if got := string(data["parsed_user_raw"]); got != c.token {
				t.Errorf("parsed_user_raw = %s, want %s", got, c.token)
			}
			if got := string(data["broadcast"]); got != "false" {
				t.Errorf("broadcast = %s", got)
			}
			if got := unquote(t, data["target_user_id"]); got != c.user {
				t.Errorf("target_user_id = %q, want %q", got, c.user)
			}
			push(t, p, `{"event_name":"all","subject":1}`)
			for name, conn := range map[string]eventSource{"query": {t, byQuery}, "identify": {t, byMessage}} {
				t.Log(name)
				if got := string(conn.want("one").Data.Token); got != c.token {
					t.Errorf("token in the envelope = %s, want %s", got, c.token)
				}
				conn.want("all")
			}
			// Nobody else got the first one.
			wantEvent(t, other, "all")
			wantEvent(t, bare, "all")
		})
	}
}

func TestTokenNamesEveryone(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	named := r.Dial(t, "/ws?token=a")
	bare := r.Dial(t, "/ws")
	settle(t, named)
	settle(t, bare)
	for _, token := range everyone {
		t.Run("token "+token, func(t *testing.T) {
			body, raw := `{"event_name":"all","subject":1}`, "null"
			if token != "" {
				body, raw = `{"event_name":"all","subject":1,"token":`+token+`}`, token
			}
			data := push(t, p, body)
			if got := string(data["broadcast"]); got != "true" {
				t.Errorf("broadcast = %s", got)
			}
			if got := string(data["parsed_user_raw"]); got != raw {
				t.Errorf("parsed_user_raw = %s, want %s", got, raw)
			}
			if _, ok := data["target_user_id"]; !ok {
				t.Error("no target_user_id")
			}
			for _, c := range []eventSource{{t, named}, {t, bare}} {
				if got := string(c.want("all").Data.Token); got != raw {
					t.Errorf("token in the envelope = %s, want %s", got, raw)
				}
			}
		})
	}
}

// TestIdentifyTakesTheSameValues holds identify to the token rule of a push
// for numbers and strings.
func TestIdentifyTakesTheSameValues(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	for _, c := range []struct{ token, user string }{
		{`123`, "123"}, {`1e3`, "1000"}, {`9007199254740993`, "9007199254740993"}, {`-1`, "-1"}, {`1.5`, "1.5"},
		{`"\u0041BC"`, "ABC"}, {`"\ud83d\ude00"`, "😀"},
	} {
		t.Run(c.token, func(t *testing.T) {
			conn := r.Dial(t, "/ws")
			defer conn.Close()
			identify(t, conn, c.token)
			push(t, p, `{"event_name":"text","subject":1,"token":`+quote(c.user)+`}`)
			push(t, p, `{"event_name":"number","subject":1,"token":`+c.token+`}`)
			wantEvent(t, conn, "text")
			wantEvent(t, conn, "number")
		})
	}
}
