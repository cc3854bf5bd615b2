package api

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"gorelay/engine"
)

func TestIdempotencyKeyIsJudged(t *testing.T) {
	r := startRelay(t)
	p := r.dial(t)
	const body = `{"event_name":"e","subject":1}`
	for _, test := range []struct {
		name, headers string
		good          bool
	}{
		{"one character", "Idempotency-Key: !", true},
		{"most characters", "Idempotency-Key: " + strings.Repeat("~", maxIdempotencyKey), true},
		{"other case", "idempotency-KEY: x", true},
		{"empty", "Idempotency-Key:", false},
		{"too long", "Idempotency-Key: " + strings.Repeat("~", maxIdempotencyKey+1), false},
		{"space inside", "Idempotency-Key: a b", false},
		{"not ASCII", "Idempotency-Key: \xc3\xa9", false},
		{"twice", "Idempotency-Key: a\r\nIdempotency-Key: a", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			p.t = t
			for _, target := range []string{"", "/batch"} {
				content := body
				if target != "" {
					content = `{"items":[` + body + `]}`
				}
				p.request("POST", target, content, test.headers, "X-Nonce: "+target)
				switch {
				case !test.good:
					p.wantRefusal(400, "Idempotency-Key must be given once, as 1 to 128 visible ASCII characters")
				case target == "":
					p.wantStatus(200)
				default: // the key is taken
					p.wantRefusal(409, "another request")
				}
			}
			if calls := r.recorder.take(); (len(calls) == 1) != test.good {
				t.Errorf("deliveries %+v", calls)
			}
		})
	}
}

func TestRetryIsAnsweredAsTheFirst(t *testing.T) {
	r := startRelay(t)
	p := r.dial(t)
	at := inSeconds(500)
	for i, body := range []string{
		`{"event_name":"e","subject":1}`,
		`{"event_name":"e","subject":1,"token":"u","include_id":true}`,
		`{"event_name":"e","subject":1,"delay_seconds":50,"token":{"id":7}}`,
		fmt.Sprintf(`{"event_name":"e","subject":1,"deliver_at":%d,"tokens":["a","b"]}`, at),
		`{"event_name":"e","subject":1,"deliver_at":7}`,
	} {
		key := fmt.Sprintf("Idempotency-Key: key-%d", i)
		first := p.request("POST", "", body, key).read("POST")
		if first.StatusCode != 200 || first.Header.Get("Idempotency-Replayed") != "" {
			t.Fatalf("%s: %d %s", body, first.StatusCode, first.body)
		}
		if calls := r.recorder.take(); len(calls) != 1 {
			t.Fatalf("%s: deliveries %+v", body, calls)
		}
		for range 3 {
			again := p.request("POST", "?x=y", body, key).read("POST")
			if again.StatusCode != 200 || again.body != first.body || again.Header.Get("Idempotency-Replayed") != "true" {
				t.Fatalf("got %d %s, want %s", again.StatusCode, again.body, first.body)
			}
		}
		p.request("POST", "", body+" ", key).wantRefusal(409, "another request")
		p.request("POST", "", `{"event_name":`, key).wantRefusal(409, "another request")
		if calls := r.recorder.take(); len(calls) != 0 {
			t.Fatalf("%s: delivered again: %+v", body, calls)
		}
		// Without the key it is a push like any other.
		p.post(body).wantStatus(200)
		if calls := r.recorder.take(); len(calls) != 1 {
			t.Fatalf("%s: deliveries %+v", body, calls)
		}
	}
	if got, want := r.Stats(), (Stats{Accepted: 10, Refused: 10, Replayed: 15}); got != want {
		t.Errorf("Stats %+v, want %+v", got, want)
	}
}

func TestRefusedPushIsNotRemembered(t *testing.T) {
	r := startRelay(t)
	p := r.dial(t)
	const key = "Idempotency-Key: k"
	p.request("POST", "", `{"event_name":"e"}`, key).wantRefusal(400, "subject")
	r.recorder.err = engine.ErrSaturated
	const body = `{"event_name":"e","subject":1}`
	p.request("POST", "", body, key).wantRefusal(503, "saturated")
	p.request("POST", "/batch", `{"items":[`+body+`]}`, key).wantRefusal(503, "saturated")
	p.request("POST", "/batch", `{"items":[1]}`, key).wantStatus(200) // it had no effect
	r.recorder.err = nil
	p.request("POST", "", body, key).wantStatus(200)
	p.request("POST", "", body, key).wantStatus(200)
	if calls := r.recorder.take(); len(calls) != 1 {
		t.Fatalf("deliveries %+v", calls)
	}
}

func TestFullMemoryRefusesNewKeys(t *testing.T) {
	r := startRelay(t, func(o *Options, _ *recorder) { o.MaxIdempotencyBytes = 3 * promiseCost })
	p := r.dial(t)
	const body = `{"event_name":"e","subject":1}`
	wantFull := func(below, content string) {
		t.Helper()
		a := p.request("POST", below, content, "Idempotency-Key: d").wantRefusal(503, "too many Idempotency-Keys")
		if a.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	for _, key := range []string{"a", "b", "c"} {
		p.request("POST", "", body, "Idempotency-Key: "+key).wantStatus(200)
		wantFull("/batch", `{"items":[`+body+`]}`) // it fits into an empty memory
	}
	wantFull("", body)
	if a := p.request("POST", "", body, "Idempotency-Key: a").read("POST"); a.StatusCode != 200 || a.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("a promise was broken: %d %s", a.StatusCode, a.body)
	}
	p.post(body).wantStatus(200)
	if calls := r.recorder.take(); len(calls) != 4 {
		t.Fatalf("deliveries %+v", calls)
	}
}

// Of twins one delivers; the others wait for it and get its answer.
func TestTwinsDeliverOnce(t *testing.T) {
	r := startRelay(t, func(_ *Options, rec *recorder) {
		rec.enter, rec.leave = make(chan struct{}), make(chan struct{})
		rec.plain = true
	})
	const body = `{"event_name":"e","subject":1,"token":"u"}`
	var mu sync.Mutex
	answers := map[string]int{}
	replayed := 0
	send := func() *publisher { return r.dial(t).request("POST", "", body, "Idempotency-Key: twin") }
	first := send()
	<-r.recorder.enter
	var wg sync.WaitGroup
	for range 8 {
		p := send()
		wg.Go(func() {
			a := p.read("POST")
			mu.Lock()
			defer mu.Unlock()
			answers[a.body]++
			if a.Header.Get("Idempotency-Replayed") == "true" {
				replayed++
			}
		})
	}
	r.dial(t).request("POST", "", body+" ", "Idempotency-Key: twin").wantRefusal(409, "another request")
	r.recorder.leave <- struct{}{}
	a := first.read("POST")
	wg.Wait()
	if len(answers) != 1 || answers[a.body] != 8 || replayed != 8 {
		t.Fatalf("answers %v, %d replayed; the first was %s", answers, replayed, a.body)
	}
	if calls := r.recorder.take(); len(calls) != 1 {
		t.Fatalf("deliveries %+v", calls)
	}
}

// A twin of one that comes to nothing takes its place.
func TestTwinOfARefusedPushTriesItself(t *testing.T) {
	r := startRelay(t, func(_ *Options, rec *recorder) {
		rec.enter, rec.leave = make(chan struct{}), make(chan struct{})
		rec.plain = true
		rec.err = engine.ErrSaturated
	})
	const body = `{"event_name":"e","subject":1,"token":"u"}`
	send := func() *publisher { return r.dial(t).request("POST", "", body, "Idempotency-Key: twin") }
	first := send()
	<-r.recorder.enter
	second := send()
	r.recorder.leave <- struct{}{}
	first.wantRefusal(503, "saturated")
	<-r.recorder.enter
	r.recorder.leave <- struct{}{}
	second.wantRefusal(503, "saturated")
}

// A handler that panics leaves nobody waiting.
func TestTwinOfAPanicIsNotLeftWaiting(t *testing.T) {
	r := startRelay(t, func(_ *Options, rec *recorder) { rec.panic = "x" })
	const body = `{"event_name":"e","subject":1,"token":"u"}`
	for range 2 {
		r.dial(t).request("POST", "", body, "Idempotency-Key: twin").wantRefusal(500, "internal error")
	}
}

func TestKeyIsForgottenAfterItsWindow(t *testing.T) {
	r := startRelay(t, func(o *Options, _ *recorder) { o.Window = time.Millisecond })
	p := r.dial(t)
	const body = `{"event_name":"e","subject":1}`
	p.request("POST", "", body, "Idempotency-Key: k").wantStatus(200)
	for end := time.Now().Add(patience); ; {
		a := p.request("POST", "", body, "Idempotency-Key: k").read("POST")
		if a.StatusCode != 200 {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
		if a.Header.Get("Idempotency-Replayed") == "" {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the key is never forgotten")
		}
	}
	if calls := r.recorder.take(); len(calls) != 2 {
		t.Fatalf("%d deliveries", len(calls))
	}
}
