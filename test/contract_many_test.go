package test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gorelay/internal/relaytest"
)

// TestTokens: one push for several users reaches each of their connections
// once, and nobody else.
func TestTokens(t *testing.T) {
	t.Parallel()
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	a1, a2, seven, moved, other := r.Dial(t, "/ws?token=a"), r.Dial(t, "/ws?token=a"), r.Dial(t, "/ws?token=7"), r.Dial(t, "/ws"), r.Dial(t, "/ws?token=z")
	for _, c := range []eventSource{{t, a1}, {t, a2}, {t, seven}, {t, moved}, {t, other}} {
		settle(t, c.c)
	}
	identify(t, moved, `"x y"`)

	d := push(t, p, body("now", `"tokens":["a",{"id":7},7.0,"x y","a",{"user_id":"a"},"nobody"]`))
	for name, want := range map[string]string{
		"targets": "4", "matched": "4", "target_user_id": `""`, "broadcast": "false", "parsed_user_raw": "null", "delay_seconds": "0", "event_name": `"now"`,
	} {
		wantMember(t, d, name, want)
	}
	d = push(t, p, body("later", `"tokens":["a","x y","a"]`, inSeconds(1)))
	wantMember(t, d, "targets", "2")
	if _, ok := d["matched"]; ok {
		t.Errorf("a delayed push has matched: %v", d)
	}
	for _, c := range []eventSource{{t, a1}, {t, a2}, {t, seven}, {t, moved}} {
		if e := c.want("now"); string(e.Data.Token) != "null" || string(e.Data.Subject) != "1" {
			t.Errorf("token %s, subject %s", e.Data.Token, e.Data.Subject)
		}
	}
	identify(t, moved, `"a"`) // who gets it is settled when it fires; once although it now shares a token
	for _, c := range []eventSource{{t, a1}, {t, a2}, {t, moved}} {
		c.want("later")
	}
	push(t, p, body("last"))
	for _, c := range []eventSource{{t, a1}, {t, a2}, {t, seven}, {t, moved}, {t, other}} {
		c.want("last")
	}
}

// TestTokensOrder: pushes to one, to several and to everybody keep their order.
func TestTokensOrder(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	c := r.Dial(t, "/ws?token=a")
	settle(t, c)
	kinds := []string{toToken("a"), `"tokens":["b","a","c"]`, `"token":null`, `"tokens":["a"]`}
	for n := range 400 {
		push(t, p, body(fmt.Sprintf("n%d", n), kinds[n*7%len(kinds)]))
	}
	for n := range 400 {
		wantEvent(t, c, fmt.Sprintf("n%d", n))
	}
}

func TestTokensRefused(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	c := r.Dial(t, "/ws?token=a")
	settle(t, c)
	thousand := strings.TrimSuffix(repeat(`"a",`, 1000), ",")
	for name, members := range map[string]string{
		"empty":            `"tokens":[]`,
		"with token":       `"tokens":["a"],"token":"a"`,
		"empty with token": `"tokens":[],"token":"a"`,
		"with odd token":   `"tokens":["a"],"token":{}`,
		"null in it":       `"tokens":["a",null]`,
		"empty text in it": `"tokens":["a",""]`,
		"object in it":     `"tokens":[{},"a"]`,
		"array in it":      `"tokens":[["a"]]`,
		"true in it":       `"tokens":[true]`,
		"text":             `"tokens":"a"`,
		"object":           `"tokens":{"id":"a"}`,
		"number":           `"tokens":1`,
		"false":            `"tokens":false`,
		"1001":             `"tokens":[` + thousand + `,"a"]`,
		"huge number":      `"tokens":[1e999999999]`,
	} {
		t.Run(name, func(t *testing.T) {
			for _, delay := range []int{0, anHour} {
				msg := wantRefusal(t, post(t, p, body("wrong", members, inSeconds(delay))), 400)
				if !strings.Contains(msg, "token") {
					t.Errorf("%q does not name tokens", msg)
				}
			}
		})
	}
	wantMember(t, push(t, p, body("most", `"tokens":[`+thousand+`]`)), "targets", "1")
	wantEvent(t, c, "most")
	d := push(t, p, body("null", `"tokens":null`, `"token":"a"`))
	wantMember(t, d, "target_user_id", `"a"`)
	wantEvent(t, c, "null")
	wantMember(t, push(t, p, body("token null", `"tokens":["a"]`, `"token":null`)), "targets", "1")
	wantEvent(t, c, "token null")
	if waiting := list(t, p, "", 0); len(waiting) != 0 {
		t.Errorf("%d refused pushes wait", len(waiting))
	}
}

// TestBatch: items are judged one by one, sent in order, answered in order.
func TestBatch(t *testing.T) {
	t.Parallel()
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	c := r.Dial(t, "/ws?token=a")
	settle(t, c)
	items := []struct{ item, want string }{ // want: the member that shows it was accepted, or a word of the refusal
		{body("n0", toToken("a")), "matched"},
		{body("later", toToken("a"), inSeconds(1)), "deliver_at"},
		{`{"event_name":"n","subject":1,"delay_seconds":"x"}`, "delay_seconds must"},
		{body("n1"), "matched"},
		{`5`, "object"}, {`null`, "object"}, {`[]`, "object"}, {`"text"`, "object"},
		{`{}`, "event_name"},
		{body("n2", `"tokens":["a","b"]`), "matched"},
		{body("n", `"tokens":[]`), "tokens"},
		{body("n3", toToken("a"), `"include_id":true`), "matched"},
		{`{"subject":{"deep":[1.50,"\u0041"]},"event_name":"n4"}`, "matched"},
		{body("hour", inSeconds(anHour)), "deliver_at"},
	}
	var texts []string
	for _, i := range items {
		texts = append(texts, i.item)
	}
	d := wantData(t, call(t, p, "POST", batchPath, ` { "x":1, "items" : [ `+strings.Join(texts, " ,\n")+` ] } `))
	results := get[[]map[string]json.RawMessage](t, d, "results")
	if len(results) != len(items) {
		t.Fatalf("%d results for %d items", len(results), len(items))
	}
	accepted := 0
	var given []string
	for n, i := range items {
		got := results[n]
		if i.want == "matched" || i.want == "deliver_at" {
			accepted++
			if string(got["code"]) != "0" || string(got["msg"]) != `"ok"` || got[i.want] == nil {
				t.Errorf("item %d %s: %s", n, i.item, got)
			}
			given = append(given, get[string](t, got, "id"))
			continue
		}
		if msg := get[string](t, got, "msg"); string(got["code"]) != "-1" || len(got) != 2 || !strings.Contains(msg, i.want) {
			t.Errorf("item %d %s: %s", n, i.item, got)
		}
	}
	wantMember(t, d, "accepted", fmt.Sprint(accepted))
	wantMember(t, d, "refused", fmt.Sprint(len(items)-accepted))
	if !slices.IsSorted(given) {
		t.Errorf("ids are not rising: %v", given)
	}
	for n := range 5 {
		e := wantEvent(t, c, fmt.Sprintf("n%d", n))
		if n == 4 && string(e.Data.Subject) != `{"deep":[1.50,"\u0041"]}` {
			t.Errorf("subject %s", e.Data.Subject)
		}
	}
	wantEvent(t, c, "later")
	if waiting := list(t, p, "", 0); len(waiting) != 1 || waiting[0].ID != given[len(given)-1] {
		t.Errorf("waiting: %+v", waiting)
	}
}

func TestBatchLimits(t *testing.T) {
	const limit = 64 << 10
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"max_push_bytes": limit, "max_delayed": 3}})
	p := r.Publisher(t)
	c := r.Dial(t, "/ws?token=a")
	settle(t, c)
	batch := func(item string, n int) string {
		return `{"items":[` + strings.TrimSuffix(repeat(item+",", n), ",") + `]}`
	}
	small := `{"event_name":"e","subject":1,"token":"a"}`
	for name, text := range map[string]string{
		"no items": `{}`, "null": `{"items":null}`, "object": `{"items":{}}`, "text": `{"items":"x"}`, "empty": `{"items":[]}`,
		"bare array": `[` + small + `]`, "cut off": `{"items":[` + small, "no json": `x`, "nothing": ``,
		"1001": batch(`5`, 1001), "one broken": `{"items":[` + small + `,{"event_name":"e","subject":01}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			wantRefusal(t, call(t, p, "POST", batchPath, text), 400)
		})
	}
	wantRefusal(t, call(t, p, "POST", batchPath, `{"items":[`+small+`],"x":"`+repeat("x", limit)+`"}`), 413)
	wantMember(t, wantData(t, call(t, p, "POST", batchPath, batch(small, 1000))), "accepted", "1000")
	for range 1000 {
		wantEvent(t, c, "e")
	}
	wantMember(t, wantData(t, call(t, p, "POST", batchPath, batch(`5`, 1000))), "refused", "1000")

	// Delayed items share one outcome: four do not fit where three may wait.
	later := body("later", toToken("a"), inSeconds(anHour))
	answer := call(t, p, "POST", batchPath, batch(later, 4))
	wantRefusal(t, answer, 503)
	wantRetryAfter(t, answer)
	d := wantData(t, call(t, p, "POST", batchPath, `{"items":[`+strings.Join([]string{later, small, later, later, later}, ",")+`]}`))
	wantMember(t, d, "accepted", "1")
	wantMember(t, d, "refused", "4")
	wantEvent(t, c, "e")
	if waiting := list(t, p, "", 0); len(waiting) != 0 {
		t.Errorf("%d pushes wait of batches that were refused", len(waiting))
	}
	wantMember(t, wantData(t, call(t, p, "POST", batchPath, batch(later, 3))), "accepted", "3")
	push(t, p, body("last", toToken("a")))
	wantEvent(t, c, "last")
}

// TestExplicitBroadcast: with the setting, a push that names nobody is refused
// unless it says that it means everybody.
func TestExplicitBroadcast(t *testing.T) {
	strict := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"require_explicit_broadcast": true}})
	lax := relaytest.StartRelay(t, relaytest.Setup{})
	p, q := strict.Publisher(t), lax.Publisher(t)
	c := strict.Dial(t, "/ws?token=a")
	settle(t, c)
	nobody := []string{`"x":1`, `"token":null`, `"token":""`, `"token":{}`, `"token":[]`, `"token":true`, `"tokens":null`}
	for _, delay := range []int{0, anHour} {
		for _, members := range nobody {
			for _, flag := range []string{`"y":1`, `"broadcast":false`, `"broadcast":null`} {
				msg := wantRefusal(t, post(t, p, body("wrong", members, flag, inSeconds(delay))), 400)
				if !strings.Contains(msg, "broadcast") {
					t.Errorf("%q does not name broadcast", msg)
				}
				push(t, q, body("e", members, flag, inSeconds(delay)))
			}
		}
		for _, members := range []string{toToken("a"), `"tokens":["a"]`} {
			wantRefusal(t, post(t, p, body("wrong", members, `"broadcast":true`, inSeconds(delay))), 400)
			push(t, q, body("e", members, `"broadcast":true`, inSeconds(delay)))
		}
	}
	for _, flag := range []string{`1`, `"true"`, `{}`} {
		wantRefusal(t, post(t, p, body("wrong", `"broadcast":`+flag)), 400)
		push(t, q, body("e", `"broadcast":`+flag)) // not looked at
	}
	for n, members := range nobody {
		wantMember(t, push(t, p, body(fmt.Sprintf("n%d", n), members, `"broadcast":true`)), "broadcast", "true")
		wantEvent(t, c, fmt.Sprintf("n%d", n))
	}
	push(t, p, body("mine", toToken("a"), `"broadcast":false`))
	wantEvent(t, c, "mine")
	d := wantData(t, call(t, p, "POST", batchPath, `{"items":[`+body("wrong")+`,`+body("all", `"broadcast":true`)+`]}`))
	wantMember(t, d, "accepted", "1")
	wantEvent(t, c, "all")
}
