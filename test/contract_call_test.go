package test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"gorelay/internal/relaytest"
	"gorelay/internal/wsclient"
)

// Paths of the calls beside the push.
const (
	batchPath      = relaytest.PushPath + "/batch"
	onlinePath     = relaytest.PushPath + "/online"
	disconnectPath = relaytest.PushPath + "/disconnect"
)

// anHour is a delay that no test waits for.
const anHour = 3600

// call sends one request with the key and returns the answer, whatever it is.
// A body of "" is none.
func call(t testing.TB, p *relaytest.Publisher, method, target, body string, lines ...string) *wsclient.Response {
	t.Helper()
	var raw []byte
	if body != "" {
		raw = []byte(body)
	}
	r, err := p.Do(method, target, raw, append([]string{"X-API-KEY: " + p.Key}, lines...)...)
	if err != nil {
		t.Fatalf("%s %s %.200s: %v", method, target, body, err)
	}
	return r
}

// data is an answer's data, member by member.
type data map[string]json.RawMessage

// wantData wants 200 and returns the answer's data.
func wantData(t testing.TB, r *wsclient.Response) data {
	t.Helper()
	var answer struct {
		Code *int   `json:"code"`
		Msg  string `json:"msg"`
		Data data   `json:"data"`
	}
	if err := json.Unmarshal(r.Body, &answer); err != nil || r.Status != 200 || answer.Code == nil || *answer.Code != 0 || answer.Msg != "ok" {
		t.Fatalf("got %d %.300s, want 200 and code 0", r.Status, r.Body)
	}
	return answer.Data
}

// get reads a member; it must be there and of this type.
func get[T any](t testing.TB, d data, name string) T {
	t.Helper()
	var v T
	raw, ok := d[name]
	if !ok {
		t.Fatalf("no %q in %v", name, d)
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%s = %s: %v", name, raw, err)
	}
	return v
}

// wantMember wants this very JSON text.
func wantMember(t testing.TB, d data, name, want string) {
	t.Helper()
	if got, ok := d[name]; !ok || string(got) != want {
		t.Errorf("%s = %s, want %s", name, got, want)
	}
}

// idForm is RFC 9562 section 5.7, in lower case.
var idForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// pushed sends one body, wants 200 and a proper id, and returns that.
func pushed(t testing.TB, p *relaytest.Publisher, body string, lines ...string) string {
	t.Helper()
	id := get[string](t, wantData(t, call(t, p, "POST", relaytest.PushPath, body, lines...)), "id")
	if !idForm.MatchString(id) {
		t.Fatalf("id %q is no UUID version 7 in lower case", id)
	}
	return id
}

// body writes a push: event, and further members as they are.
func body(event string, members ...string) string {
	return "{" + strings.Join(append([]string{`"event_name":` + quote(event), `"subject":1`}, members...), ",") + "}"
}

func toToken(token string) string { return `"token":` + quote(token) }
func inSeconds(n int) string      { return fmt.Sprintf(`"delay_seconds":%d`, n) }
func at(when time.Time) string    { return fmt.Sprintf(`"deliver_at":%d`, when.UnixMilli()) }

// scheduled is a waiting push as the relay shows it.
type scheduled struct {
	ID        string   `json:"id"`
	Status    string   `json:"status"`
	DeliverAt int64    `json:"deliver_at"`
	CreatedAt int64    `json:"created_at"`
	Broadcast *bool    `json:"broadcast"`
	Target    *string  `json:"target_user_id"`
	Tokens    []string `json:"tokens"`
}

// list pages through the waiting pushes and returns all of them.
func list(t testing.TB, p *relaytest.Publisher, token string, limit int) []scheduled {
	t.Helper()
	var all []scheduled
	for cursor := ""; ; {
		query := url.Values{"status": {"scheduled"}}
		if token != "" {
			query.Set("token", token)
		}
		if limit != 0 {
			query.Set("limit", fmt.Sprint(limit))
		}
		if cursor != "" {
			query.Set("cursor", cursor)
		}
		d := wantData(t, call(t, p, "GET", relaytest.PushPath+"?"+query.Encode(), ""))
		page := get[[]scheduled](t, d, "items")
		if limit == 0 && len(page) > 100 || limit != 0 && len(page) > limit {
			t.Fatalf("a page of %d items, the limit is %d", len(page), limit)
		}
		all = append(all, page...)
		next := get[*string](t, d, "next_cursor")
		if next == nil {
			return all
		}
		if *next == "" || *next == cursor {
			t.Fatalf("next_cursor %q after %q", *next, cursor)
		}
		cursor = *next
	}
}

// ids are those of a list.
func ids(list []scheduled) []string {
	all := make([]string, len(list))
	for i, s := range list {
		all[i] = s.ID
	}
	return all
}

// restart starts a relay again on the folder of one that has ended.
func restart(t testing.TB, r *relaytest.Relay, config relaytest.Config) *relaytest.Relay {
	t.Helper()
	return relaytest.StartRelay(t, relaytest.Setup{Dir: r.Dir, Config: config})
}
