package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"gorelay/engine"
)

// batchAnswer is the data of an answer to a batch.
type batchAnswer struct {
	Accepted, Refused int
	Results           []struct {
		Code      int
		Msg, ID   string
		Matched   *int
		DeliverAt *int64 `json:"deliver_at"`
	}
}

// texts are the results in short: "matched 3", "later", or the message.
func (b *batchAnswer) texts() (texts []string) {
	for _, r := range b.Results {
		switch {
		case r.Code != 0:
			texts = append(texts, r.Msg)
		case r.Matched != nil && r.DeliverAt == nil:
			texts = append(texts, fmt.Sprintf("matched %d", *r.Matched))
		case r.Matched == nil && r.DeliverAt != nil:
			texts = append(texts, "later")
		default:
			texts = append(texts, "neither matched nor deliver_at")
		}
	}
	return texts
}

// pushes is the body of a batch.
func pushes(items ...string) string { return `{"items":[` + strings.Join(items, ",") + `]}` }

func TestBatch(t *testing.T) {
	r := startRelay(t)
	p := r.dial(t)
	items := []string{
		`{"event_name":"e","subject":{"n":0},"token":"u"}`,
		`{"event_name":"e","subject":{"n":1},"delay_seconds":50,"token":"u"}`,
		`{"event_name":"e"}`,
		` {"event_name":"e","subject":{"n":3}} `,
		`[1]`, `null`, `"x"`, `{}`,
		`{"event_name":"e","subject":{"n":8},"tokens":["a","b","a"]}`,
		`{"event_name":"e","subject":{"n":9},"tokens":[]}`,
		`{"event_name":"e","subject":{"n":10},"delay_seconds":50}`,
		`{"event_name":"e","subject":{"n":11},"deliver_at":1e30}`,
	}
	const notObject = "invalid json: an item must be an object"
	want := []string{
		"matched 3", "later", "subject is missing: it must be a JSON value (null is one)", "matched 7",
		notObject, notObject, notObject, "event_name is missing: it must be a string",
		"matched 5", "tokens must not be empty: an empty list reaches nobody", "later", "deliver_at must be at most 1000 seconds ahead",
	}
	var got batchAnswer
	p.request("POST", "/batch", `{"x":[{}],"items":["last wins"],"\u0069tems" : [`+strings.Join(items, " ,\n")+` ] }`).wantInto(&got)
	if !reflect.DeepEqual(got.texts(), want) || got.Accepted != 5 || got.Refused != 7 {
		t.Fatalf("got %d, %d, %q", got.Accepted, got.Refused, got.texts())
	}
	ids := map[string]bool{}
	for i, result := range got.Results {
		if (result.ID != "") != (result.Code == 0) || result.Code == 0 && !versionSeven.MatchString(result.ID) {
			t.Errorf("result %d: id %q", i, result.ID)
		}
		ids[result.ID] = true
	}
	if len(ids) != 6 { // of five, and none
		t.Errorf("ids %v", ids)
	}
	// At once in order, then the rest in one commit.
	var calls []string
	for _, c := range r.recorder.take() {
		var envelope struct {
			Data struct{ Subject struct{ N int } }
		}
		if err := json.Unmarshal([]byte(c.payload), &envelope); err != nil {
			t.Fatal(err)
		}
		calls = append(calls, fmt.Sprint(c.kind, " ", c.user, " ", envelope.Data.Subject.N))
	}
	if want := "[send u 0 broadcast  3 multicast a,b 8 schedule u 1 schedule  10]"; fmt.Sprint(calls) != want || len(r.recorder.receipts) != 1 {
		t.Errorf("deliveries %v in %d commits, want %s in one", calls, len(r.recorder.receipts), want)
	}
	if got := r.Stats(); got != (Stats{Accepted: 5, Refused: 7}) {
		t.Errorf("Stats %+v", got)
	}
}

func TestBatchAnswerText(t *testing.T) {
	r := startRelay(t)
	at := inSeconds(500)
	a := r.dial(t).request("POST", "/batch", pushes(`{"event_name":"e","subject":1}`, `0`, fmt.Sprintf(`{"event_name":"e","subject":1,"deliver_at":%d}`, at))).read("POST")
	var got struct{ Data batchAnswer }
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || len(got.Data.Results) != 3 {
		t.Fatalf("%s: %v", a.body, err)
	}
	results := got.Data.Results
	want := fmt.Sprintf(`{"code":0,"msg":"ok","data":{"accepted":2,"refused":1,"results":[{"code":0,"msg":"ok","id":"%s","matched":7},`+
		`{"code":-1,"msg":"invalid json: an item must be an object"},{"code":0,"msg":"ok","id":"%s","deliver_at":%d}]}}`, results[0].ID, results[2].ID, at)
	if a.body != want {
		t.Fatalf("got %s, want %s", a.body, want)
	}
}

func TestBatchRefusesTheWhole(t *testing.T) {
	r := startRelay(t)
	p := r.dial(t)
	const good = `{"event_name":"e","subject":1}`
	deep := func(levels int) string {
		return `{"event_name":"e","subject":` + strings.Repeat("[", levels-1) + strings.Repeat("]", levels-1) + `}`
	}
	for _, test := range []struct{ name, body, msg string }{
		{"no object", `[` + good + `]`, "invalid json"},
		{"cut off", `{"items":[` + good, "invalid json"},
		{"one bad item", pushes(good, `{"event_name":"e","subject":1,}`), "invalid json"},
		{"bad UTF-8", pushes(good, "{\"event_name\":\"\xff\",\"subject\":1}"), "invalid json"},
		{"control character", pushes(good, "{\"event_name\":\"\x01\",\"subject\":1}"), "invalid json"},
		{"too deep", pushes(good, deep(maxDepth+1)), "nested deeper than 300"},
		{"very deep", pushes(strings.Repeat("[", 100_000)), "nested deeper than 300"},
		{"missing", `{"item":[` + good + `]}`, "items is missing"},
		{"null", `{"items":null}`, "items must be an array"},
		{"object", `{"items":{"0":` + good + `}}`, "items must be an array"},
		{"string", `{"items":"` + strings.ReplaceAll(good, `"`, `\"`) + `"}`, "items must be an array"},
		{"empty", pushes(), "items must not be empty"},
		{"empty last", `{"items":[` + good + `],"items":[ ]}`, "items must not be empty"},
		{"too many", pushes(strings.Repeat(good+",", maxItems) + good), "items must have at most 1000 elements"},
		{"very many", pushes(strings.Repeat("1,", 400_000) + "1"), "items must have at most 1000 elements"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p.t = t
			p.request("POST", "/batch", test.body).wantRefusal(400, test.msg)
		})
	}
	if calls := r.recorder.take(); len(calls) != 0 {
		t.Fatalf("deliveries %+v", calls)
	}
	p = r.dial(t) // a connection does not outlive the refusal of a long body
	// A push may be as deep in a batch as it may be by itself.
	var got batchAnswer
	p.request("POST", "/batch", pushes(deep(maxDepth), `1`)).wantInto(&got)
	if got.Accepted != 1 {
		t.Errorf("%q", got.texts())
	}
	p.request("POST", "/batch", pushes(strings.Repeat(good+",", maxItems-1)+good)).wantInto(&got)
	if got.Accepted != maxItems || len(got.Results) != maxItems {
		t.Errorf("%d of %d accepted", got.Accepted, len(got.Results))
	}
	p.request("POST", "/batch", pushes(good)+strings.Repeat(" ", r.opts.MaxPushBytes)).wantRefusal(413, "too large")
}

func TestBatchSharesTheOutcomeOfItsCommit(t *testing.T) {
	const now, full, later = `{"event_name":"e","subject":1,"token":"u"}`, `{"event_name":"e","subject":1,"token":"full"}`, `{"event_name":"e","subject":1,"delay_seconds":9}`
	const saturated, delayed, disk = "relay is saturated: send the push again later", "too many delayed pushes are waiting: send the push again later", "cannot store delayed pushes: the disk fails"
	unstored := fmt.Errorf("%w: x", engine.ErrUnstored)
	for _, test := range []struct {
		name           string
		send, schedule error
		items          []string
		status         int
		want           []string // results, or the message of the whole
	}{
		{"commit fails", nil, unstored, []string{now, later, later, `1`}, 200, []string{"matched 3", disk, disk, refusedItem.msg}},
		{"too many", nil, engine.ErrTooMany, []string{later, now}, 200, []string{delayed, "matched 3"}},
		{"one is refused", engine.ErrSaturated, nil, []string{full, now, later}, 200, []string{saturated, "matched 3", "later"}},
		{"unexpected", nil, errors.New("surprise"), []string{later, now}, 200, []string{"internal error", "matched 3"}},
		{"all for a while", engine.ErrSaturated, unstored, []string{full, later}, 503, []string{saturated}},
		{"commit fails for all", nil, unstored, []string{later, later}, 503, []string{disk}},
		{"stopping", engine.ErrStopping, nil, []string{full, full}, 503, []string{"relay is stopping: send the push again later"}},
		{"none accepted, one for good", engine.ErrSaturated, nil, []string{full, `1`}, 200, []string{saturated, refusedItem.msg}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := startRelay(t, func(_ *Options, rec *recorder) { rec.full, rec.disk = test.send, test.schedule })
			p := r.dial(t).request("POST", "/batch", pushes(test.items...), "Idempotency-Key: k")
			if test.status == 503 {
				if a := p.wantRefusal(503, test.want[0]); a.Header.Get("Retry-After") == "" {
					t.Error("no Retry-After")
				}
				if got := r.Stats(); got != (Stats{Refused: 1}) {
					t.Errorf("Stats %+v", got)
				}
				return
			}
			var got batchAnswer
			first := p.wantInto(&got)
			if !reflect.DeepEqual(got.texts(), test.want) || got.Accepted+got.Refused != len(test.want) {
				t.Fatalf("got %d, %d, %q, want %q", got.Accepted, got.Refused, got.texts(), test.want)
			}
			if again := p.request("POST", "/batch", pushes(test.items...), "Idempotency-Key: k").read("POST"); (again.Header.Get("Idempotency-Replayed") != "") != (got.Accepted > 0) ||
				got.Accepted > 0 && again.body != first.body {
				t.Errorf("again: %v %s, first %s", again.Header, again.body, first.body)
			}
		})
	}
}

func TestBatchIsRetriedWhole(t *testing.T) {
	r := startRelay(t)
	p := r.dial(t)
	body := pushes(`{"event_name":"e","subject":1}`, `2`, `{"event_name":"e","subject":3,"delay_seconds":9}`)
	first := p.request("POST", "/batch", body, "Idempotency-Key: k").read("POST")
	again := p.request("POST", "/batch", body, "Idempotency-Key: k").read("POST")
	if first.StatusCode != 200 || again.StatusCode != 200 || first.body != again.body || again.Header.Get("Idempotency-Replayed") != "true" {
		t.Fatalf("first %s, again %v %s", first.body, again.Header, again.body)
	}
	if calls := r.recorder.take(); len(calls) != 2 {
		t.Fatalf("deliveries %+v", calls)
	}
	p.request("POST", "/batch", pushes(`1`), "Idempotency-Key: k").wantRefusal(409, "another request")
	p.request("POST", "", body, "Idempotency-Key: k").wantRefusal(409, "another request") // of another path
	// A batch that could not be kept whole is not begun.
	small := startRelay(t, func(o *Options, _ *recorder) { o.MaxIdempotencyBytes = 4 << 10 })
	many := pushes(strings.Repeat(`{"event_name":"e","subject":1},`, 99) + `{"event_name":"e","subject":1}`)
	a := small.dial(t).request("POST", "/batch", many, "Idempotency-Key: k").wantRefusal(413, "max_idempotency_bytes is 4096, room for the answer to 17 items:")
	if a.Header.Get("Retry-After") != "" {
		t.Error("a retry cannot help, and there is a Retry-After")
	}
	if calls := small.recorder.take(); len(calls) != 0 {
		t.Fatalf("%d deliveries", len(calls))
	}
	seventeen, eighteen := pushes(strings.Repeat(`1,`, 16)+`1`), pushes(strings.Repeat(`1,`, 17)+`1`)
	small.dial(t).request("POST", "/batch", eighteen, "Idempotency-Key: k").wantRefusal(413, "room for the answer to 17 items")
	small.dial(t).request("POST", "/batch", eighteen).wantStatus(200)
	small.dial(t).request("POST", "/batch", seventeen, "Idempotency-Key: k").wantStatus(200)
	small.dial(t).request("POST", "/batch", body, "Idempotency-Key: k").wantStatus(200)
	if calls := small.recorder.take(); len(calls) != 2 {
		t.Fatalf("%d deliveries", len(calls))
	}
}

// The order of a batch is the order of its messages.
func TestBatchReachesClientsInOrder(t *testing.T) {
	r, dialer := startOnEngine(t)
	c := connect(t, dialer, "/ws?token=u")
	var items []string
	for i := range 200 {
		items = append(items, fmt.Sprintf(`{"event_name":"e","subject":%d%s}`, i, []string{``, `,"token":"u"`, `,"tokens":["x","u"]`}[i%3]))
	}
	r.dial(t).request("POST", "/batch", pushes(items...)).wantStatus(200)
	for i := range items {
		if got := receive(t, c); !strings.HasPrefix(got, fmt.Sprintf(`{"event":"e","data":{"subject":%d,`, i)) {
			t.Fatalf("message %d: %s", i, got)
		}
	}
}

// No result is longer than the room that is reserved for it.
func TestResultsFitTheirRoom(t *testing.T) {
	id := newIDMint(nil).append(nil, pushID{})
	longest := appendResult(nil, &result{id: id, due: 1<<63 - 1})
	if len(longest) >= resultRoom {
		t.Errorf("%d bytes: %s", len(longest), longest)
	}
	for _, refused := range []*refusal{refusedItem, refusedDelayed, refusedDiskFull, refusedSaturated,
		badElement("tokens", maxTargets, "names nobody: it must be a string, a number, or an object with id or user_id"),
		badElement("tokens", maxTargets, "must be a number that can be written out: its exponent is too large")} {
		if text := appendResult(nil, &result{refused: refused}); len(text) >= resultRoom {
			t.Errorf("%d bytes: %s", len(text), text)
		}
	}
}

// FuzzBatch compares a batch with its items, each read as a push by itself.
func FuzzBatch(f *testing.F) {
	f.Add([]byte(`{"items":[{"event_name":"e","subject":1},{"event_name":"e","subject":[{}],"tokens":["a",{"id":1}]},1,null]}`))
	f.Add([]byte(`{"items":[ ],"\u0069tems":[{"event_name":"\"]","subject":{"a":["}"]},"delay_seconds":5} , [[]] ]}`))
	f.Add([]byte(`{"items":[{"event_name":"e","subject":1,"deliver_at":1e400},"\ud800",true,-0.5e-7]}`))
	f.Add([]byte("{\"items\":[{\"event_name\":\"\xff\",\"subject\":1}]}"))
	o := DefaultOptions()
	o.MaxDelay = testMaxDelay
	s := NewServer(o, nowhere{})
	now := time.UnixMilli(1733890000000)
	f.Fuzz(func(t *testing.T, body []byte) {
		items, refused := readItems(body)
		var fields map[string]json.RawMessage
		var raw []json.RawMessage
		isBatch := json.Unmarshal(body, &fields) == nil && json.Unmarshal(fields["items"], &raw) == nil && 0 < len(raw) && len(raw) <= maxItems
		if refused != nil {
			if isBatch && refused != refusedJSON && refused != refusedDepth {
				t.Fatalf("refused %q: %s", body, refused.msg)
			}
			return
		}
		if !isBatch || len(items) != len(raw) {
			t.Fatalf("%q has %d items, not %d", body, len(raw), len(items))
		}
		for i := range items {
			if string(items[i]) != string(raw[i]) {
				t.Fatalf("item %d of %q is %q, not %q", i, body, raw[i], items[i])
			}
			p, refused := s.readItem(items[i], now)
			alone, aloneRefused := readPush(items[i], testMaxDelay)
			if aloneRefused == nil {
				aloneRefused = alone.settle(now, &o)
			}
			switch {
			case refused == refusedItem && aloneRefused == refusedJSON:
			case (refused == nil) != (aloneRefused == nil), refused != nil && refused.msg != aloneRefused.msg:
				t.Fatalf("item %q: %v, alone %v", items[i], refused, aloneRefused)
			case refused == nil && !reflect.DeepEqual(p, alone):
				t.Fatalf("item %q: %+v, alone %+v", items[i], p, alone)
			}
		}
	})
}
