package test

import (
	"testing"

	"gorelay/internal/relaytest"
)

func TestKeyPlaces(t *testing.T) {
	const key = "k+y /&=%?"
	const inQuery = "?api_key=k%2By+%2F%26%3D%25%3F"
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"api_key": key}})
	r.Secret(key)
	p := r.Publisher(t)
	c := r.Dial(t, "/ws")
	settle(t, c)
	for _, row := range []struct {
		name, query string
		lines       []string
		ok          bool
	}{
		{"X-API-KEY", "", []string{"X-API-KEY: " + key}, true},
		{"lower case", "", []string{"x-api-key: " + key}, true},
		{"API-KEY", "", []string{"API-KEY: " + key}, true},
		{"Api-Key", "", []string{"Api-Key: " + key}, true},
		{"query", inQuery, nil, true},
		{"query among others", "?x=1&" + inQuery[1:] + "&y=2", nil, true},
		{"X-API-KEY goes before", "", []string{"API-KEY: wrong", "X-API-KEY: " + key}, true},
		{"API-KEY goes before the query", "?api_key=wrong", []string{"API-KEY: " + key}, true},
		{"X-API-KEY goes before the query", "?api_key=wrong", []string{"X-API-KEY: " + key}, true},

		{"none", "", nil, false},
		{"empty", "", []string{"X-API-KEY:"}, false},
		{"wrong", "", []string{"X-API-KEY: wrong"}, false},
		{"prefix", "", []string{"X-API-KEY: k+y"}, false},
		{"longer", "", []string{"X-API-KEY: " + key + "x"}, false},
		{"other case", "", []string{"X-API-KEY: K+Y /&=%?"}, false},
		{"wrong X-API-KEY, right API-KEY", "", []string{"X-API-KEY: wrong", "API-KEY: " + key}, false},
		{"wrong X-API-KEY, right query", inQuery, []string{"X-API-KEY: wrong"}, false},
		{"wrong API-KEY, right query", inQuery, []string{"API-KEY: wrong"}, false},
		{"another parameter", "?key=" + inQuery[9:], nil, false},
		{"authorization", "", []string{"Authorization: Bearer " + key}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			answer, err := p.Do("POST", relaytest.PushPath+row.query, []byte(`{"event_name":"`+row.name+`","subject":1}`), row.lines...)
			if err != nil {
				t.Fatal(err)
			}
			if !row.ok {
				wantRefusal(t, answer, 401)
				if got := string(answer.Body); got != `{"code":-1,"msg":"invalid api key"}` {
					t.Errorf("body %s", got)
				}
				return
			}
			if answer.Status != 200 {
				t.Fatalf("status %d %s", answer.Status, answer.Body)
			}
			wantEvent(t, c, row.name) // and none of the refused ones
		})
	}
	push(t, &relaytest.Publisher{Addr: r.Addr, Key: key}, `{"event_name":"last","subject":1}`)
	wantEvent(t, c, "last")
}

// TestKeyBeforeBody: who has no key learns nothing about bodies.
func TestKeyBeforeBody(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	p.Key = "wrong"
	for _, body := range []string{``, `x`, `{}`, `{"event_name":5}`} {
		wantRefusal(t, post(t, p, body), 401)
	}
}
