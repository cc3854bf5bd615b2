package test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gorelay/internal/relaytest"
)

// TestIDs: every accepted push has an id of its own; ids sort in the order in
// which they were given out.
func TestIDs(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	var given []string
	before := time.Now().UnixMilli()
	for n := range 200 {
		members := [][]string{{}, {toToken("a")}, {`"tokens":["a",1]`}, {inSeconds(anHour)}, {toToken("a"), inSeconds(anHour)}}[n%5]
		given = append(given, pushed(t, p, body("e", members...)))
	}
	after := time.Now().UnixMilli()
	if !slices.IsSorted(given) || len(slices.Compact(slices.Clone(given))) != len(given) {
		t.Errorf("ids are not rising: %v", given)
	}
	for _, id := range []string{given[0], given[len(given)-1]} {
		var ms int64
		if _, err := fmt.Sscanf(strings.ReplaceAll(id, "-", "")[:12], "%x", &ms); err != nil || ms < before || ms > after {
			t.Errorf("%s holds the time %d, pushed between %d and %d: %v", id, ms, before, after, err)
		}
	}
	var numbers []int64 // below the time ids do not give away how much is pushed
	for _, id := range given {
		var n int64
		if _, err := fmt.Sscanf(id[len(id)-5:], "%x", &n); err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, n)
	}
	if slices.IsSorted(numbers) {
		t.Errorf("the ends of the ids only count up: %v", numbers[:10])
	}
}

// TestIncludeID: the message carries its id only if asked, at its end.
func TestIncludeID(t *testing.T) {
	t.Parallel()
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	c := r.Dial(t, "/ws?token=a")
	settle(t, c)
	for _, row := range []struct {
		name    string
		members []string
		with    bool
	}{
		{"not asked", []string{toToken("a")}, false},
		{"false", []string{toToken("a"), `"include_id":false`}, false},
		{"null", []string{toToken("a"), `"include_id":null`}, false},
		{"true", []string{toToken("a"), `"include_id":true`}, true},
		{"broadcast", []string{`"include_id":true`}, true},
		{"tokens", []string{`"include_id":true`, `"tokens":["a"]`}, true},
		{"delayed", []string{`"include_id":true`, toToken("a"), inSeconds(1)}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			id := pushed(t, p, body("e", row.members...))
			e, raw := readEnvelope(t, c)
			token := `null`
			if slices.Contains(row.members, toToken("a")) {
				token = `"a"`
			}
			want := fmt.Sprintf(`{"event":"e","data":{"subject":1,"ts":%d,"token":%s}}`, e.Data.TS, token)
			if row.with {
				want = strings.TrimSuffix(want, "}}") + `,"id":"` + id + `"}}`
			}
			if raw != want {
				t.Errorf("got %s, want %s", raw, want)
			}
		})
	}
	for _, wrong := range []string{`1`, `"true"`, `{}`, `[]`} {
		wantRefusal(t, post(t, p, body("e", `"include_id":`+wrong)), 400)
	}
}

// TestDeliverAt: a moment in place of a delay.
func TestDeliverAt(t *testing.T) {
	t.Parallel()
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"max_delay": "1h"}})
	p := r.Publisher(t)
	c := r.Dial(t, "/ws?token=a")
	settle(t, c)

	due := time.Now().Add(1200 * time.Millisecond)
	d := push(t, p, body("at", toToken("a"), at(due)))
	wantMember(t, d, "deliver_at", fmt.Sprint(due.UnixMilli()))
	wantMember(t, d, "delay_seconds", "0")
	if _, ok := d["matched"]; ok {
		t.Errorf("a delayed push has matched: %v", d)
	}
	for name, member := range map[string]string{
		"past": at(time.Now().Add(-time.Hour)), "epoch": `"deliver_at":0`, "before it": `"deliver_at":-5`, "null": `"deliver_at":null`, "exponent": `"deliver_at":1e3`,
	} {
		d := push(t, p, body(name, toToken("a"), member))
		wantMember(t, d, "matched", "1")
		if _, ok := d["deliver_at"]; ok {
			t.Errorf("%s: sent at once, and has deliver_at: %v", name, d)
		}
		wantEvent(t, c, name)
	}
	soon := fmt.Sprintf(`"deliver_at":%d`, time.Now().Add(time.Minute).UnixMilli())
	for _, wrong := range []string{
		`"deliver_at":"1795529700000"`, `"deliver_at":1.5`, `"deliver_at":{}`, `"deliver_at":true`, `"deliver_at":1e300`,
		`"deliver_at":99999999999999999999`, `"deliver_at":9223372036854775807`, at(time.Now().Add(2 * time.Hour)),
		soon + `,"delay_seconds":5`, soon + `,"delay_seconds":0`,
	} {
		msg := wantRefusal(t, post(t, p, body("wrong", toToken("a"), wrong)), 400)
		if !strings.Contains(msg, "deliver_at") {
			t.Errorf("%s: %q does not name deliver_at", wrong, msg)
		}
	}
	pushed(t, p, body("both", toToken("b"), soon, `"delay_seconds":null`))
	e := wantEvent(t, c, "at")
	if e.Data.TS < due.UnixMilli() {
		t.Errorf("due at %d, fired at %d", due.UnixMilli(), e.Data.TS)
	}
}

// TestLookUp: what waits is shown as it was pushed, by id and in the list.
func TestLookUp(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	before := time.Now()
	for _, row := range []struct {
		name, member, target string
		broadcast            bool
		tokens               []string
	}{
		{"user", `"token":{"id":7}`, "7", false, nil},
		{"everybody", `"token":null`, "", true, nil},
		{"several", `"tokens":["x",{"id":7},"x"]`, "", false, []string{"x", "7"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			answer := push(t, p, body("e", row.member, inSeconds(anHour)))
			id, due := get[string](t, answer, "id"), get[int64](t, answer, "deliver_at")
			if early := before.Add(anHour * time.Second).UnixMilli(); due < early || due > time.Now().Add(anHour*time.Second).UnixMilli()+1 { // it is rounded up
				t.Errorf("deliver_at %d is not an hour from now, %d", due, early)
			}
			for _, spelt := range []string{id, strings.ToUpper(id)} {
				got := wantData(t, call(t, p, "GET", relaytest.PushPath+"/"+spelt, ""))
				raw, err := json.Marshal(got)
				var s scheduled
				if err == nil {
					err = json.Unmarshal(raw, &s)
				}
				if err != nil {
					t.Fatal(err)
				}
				if s.ID != id || s.Status != "scheduled" || s.DeliverAt != due || s.Broadcast == nil || *s.Broadcast != row.broadcast ||
					s.Target == nil || *s.Target != row.target || !slices.Equal(s.Tokens, row.tokens) {
					t.Errorf("got %s", raw)
				}
				if s.CreatedAt < before.UnixMilli() || s.CreatedAt > time.Now().UnixMilli() {
					t.Errorf("created_at %d", s.CreatedAt)
				}
				if _, ok := got["tokens"]; ok != (row.tokens != nil) {
					t.Errorf("tokens in %s", raw)
				}
			}
		})
	}
}

// TestListOrder pages through pushes in due order; those with equal times
// follow in the order in which they were accepted.
func TestListOrder(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	base := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	type entry struct {
		id    string
		due   int64
		n     int
		token string
	}
	var all []entry
	for n := range 230 {
		// Three moments in a jumble, each many times, at the edges of pages too.
		due := base.Add(time.Duration(n*7%3) * time.Millisecond)
		token := []string{"a", "b", ""}[n*5%3]
		members := []string{at(due)}
		switch {
		case token != "":
			members = append(members, toToken(token))
		case n%2 == 0:
			members = append(members, `"tokens":["b","c"]`)
			token = "b c"
		}
		all = append(all, entry{pushed(t, p, body("e", members...)), due.UnixMilli(), n, token})
	}
	slices.SortStableFunc(all, func(a, b entry) int { return int(a.due - b.due) })
	want := func(token string) []string {
		var list []string
		for _, e := range all {
			if token == "" || slices.Contains(strings.Fields(e.token), token) {
				list = append(list, e.id)
			}
		}
		return list
	}
	for _, token := range []string{"", "a", "b", "c", "nobody"} {
		for _, limit := range []int{0, 1, 7, 1000} {
			if got, want := ids(list(t, p, token, limit)), want(token); !slices.Equal(got, want) {
				t.Errorf("token %q, limit %d: %d items, want %d:\n got %v\nwant %v", token, limit, len(got), len(want), got, want)
			}
		}
	}
	// What is taken back or added between two pages disturbs nobody else.
	d := wantData(t, call(t, p, "GET", relaytest.PushPath+"?limit=50", ""))
	first := ids(get[[]scheduled](t, d, "items"))
	cursor := get[string](t, d, "next_cursor")
	for _, id := range []string{all[49].id, all[50].id, all[0].id} {
		wantData(t, call(t, p, "DELETE", relaytest.PushPath+"/"+id, ""))
	}
	pushed(t, p, body("new", at(base.Add(-time.Second))))
	d = wantData(t, call(t, p, "GET", relaytest.PushPath+"?limit=1000&cursor="+cursor, ""))
	rest := ids(get[[]scheduled](t, d, "items"))
	whole := want("")
	if !slices.Equal(first, whole[:50]) || !slices.Equal(rest, whole[51:]) {
		t.Errorf("after changes: %v, want %v", rest, whole[51:])
	}
	for _, query := range []string{"status=", "status=scheduled", "token="} {
		wantData(t, call(t, p, "GET", relaytest.PushPath+"?"+query, ""))
	}
	for _, query := range []string{"status=fired", "status=Scheduled", "limit=0", "limit=-1", "limit=1001", "limit=x", "limit=1.5", "cursor=x", "cursor=" + repeat("A", 4000)} {
		wantRefusal(t, call(t, p, "GET", relaytest.PushPath+"?"+query, ""), 400)
	}
}

// TestListWhileFiring lists and looks up pushes on their way from the disk to
// the clients: what is not yet due is there, once, in order.
func TestListWhileFiring(t *testing.T) {
	t.Parallel()
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"max_push_bytes": 32 << 20}})
	p := r.Publisher(t)
	const pushes = 900
	base := time.Now().Add(1500 * time.Millisecond)
	fill := `"subject":` + quote(repeat("f", 16<<10))
	var items []string
	for n := range pushes {
		items = append(items, body("e", []string{toToken("a"), `"tokens":["b","a"]`}[n%2], fill, at(base.Add(time.Duration(n*2)*time.Millisecond))))
	}
	d := wantData(t, call(t, p, "POST", batchPath, `{"items":[`+strings.Join(items, ",")+`]}`))
	results := get[[]scheduled](t, d, "results")
	for left := pushes; left > 0; {
		shown := list(t, p, "a", 1000)
		now := time.Now().UnixMilli()
		left = len(shown)
		if !slices.IsSortedFunc(shown, func(a, b scheduled) int {
			return cmp.Or(cmp.Compare(a.DeliverAt, b.DeliverAt), strings.Compare(a.ID, b.ID))
		}) ||
			len(slices.Compact(ids(shown))) != left {
			t.Fatalf("out of order, or twice: %v", values(shown))
		}
		there := ids(shown)
		for _, one := range results {
			if one.DeliverAt <= now {
				continue
			}
			if !slices.Contains(there, one.ID) {
				t.Fatalf("%s, due at %d, is not listed at %d", one.ID, one.DeliverAt, now)
			}
			answer := call(t, p, "GET", relaytest.PushPath+"/"+one.ID, "")
			if answer.Status != 200 && time.Now().UnixMilli() < one.DeliverAt {
				t.Fatalf("%s, due at %d: %d %s", one.ID, one.DeliverAt, answer.Status, answer.Body)
			}
			break // the one that is due next; all of them would take longer than they wait
		}
	}
}
