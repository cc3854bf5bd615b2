package api

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"
)

func TestReceipt(t *testing.T) {
	a := &attempt{key: digest{1, 2}, request: digest{3, 4}, until: 1733890000000}
	for _, o := range []outcome{
		{id: pushID{1733889990000, 77}, due: 1733889999000, matched: unmatched},
		{answer: []byte(`{"code":0}`)},
	} {
		raw := appendReceipt(nil, a, &o)
		if got := binary.BigEndian.Uint64(raw); got != uint64(a.until) {
			t.Errorf("it expires at %d, want %d", got, a.until)
		}
		key, p, answer, ok := readReceipt(raw)
		if !ok || key != a.key || p.request != a.request || p.expires != a.until || p.id != o.id || p.due != o.due || !bytes.Equal(answer, o.answer) {
			t.Errorf("%+v came back as %x %+v %s %t", o, key, p, answer, ok)
		}
	}
}

func FuzzReceipt(f *testing.F) {
	f.Add(appendReceipt(nil, &attempt{until: 5}, &outcome{id: pushID{1, 2}, due: 3}))
	f.Add(appendReceipt(nil, &attempt{until: -5}, &outcome{answer: []byte("x")}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		key, p, answer, ok := readReceipt(raw)
		if !ok {
			return
		}
		o := outcome{p.id, p.due, p.matched, answer}
		if again := appendReceipt(nil, &attempt{key: key, request: p.request, until: p.expires}, &o); !bytes.Equal(again, raw) {
			t.Fatalf("%x became %x", raw, again)
		}
	})
}

// A retry that comes after a restart is answered by the next server as the
// first would have done, for pushes that wait.
func TestReceiptsSurviveARestart(t *testing.T) {
	secret := []byte("0123456789abcdef")
	withSecret := func(o *Options, _ *recorder) { o.Secret = secret }
	first := startRelay(t, withSecret)
	p := first.dial(t)
	const push = `{"event_name":"e","subject":1,"token":"u"%s}`
	later := fmt.Sprintf(push, `,"delay_seconds":50`)
	batch := `{"items":[` + later + `,1,` + fmt.Sprintf(push, ``) + `]}`
	want := map[string]string{}
	for _, request := range []struct{ below, body, key string }{
		{"", later, "later"}, {"/batch", batch, "batch"},
		{"", later, ""}, {"", fmt.Sprintf(push, ``), "now"}, {"", `{"event_name":"e","subject":1,"deliver_at":1}`, "past"},
	} {
		header := "X: y"
		if request.key != "" {
			header = "Idempotency-Key: " + request.key
		}
		a := p.request("POST", request.below, request.body, header).read("POST")
		if a.StatusCode != 200 {
			t.Fatalf("%s: %d %s", request.body, a.StatusCode, a.body)
		}
		want[request.key] = a.body
	}
	receipts := first.recorder.receipts
	if len(receipts) != 3 || receipts[0] == nil || receipts[1] == nil || receipts[2] != nil {
		t.Fatalf("receipts %q, want two and a nil", receipts)
	}

	second := startRelay(t, withSecret)
	for _, raw := range receipts[:2] {
		second.RestoreReceipt(raw)
		clear(raw) // it belongs to the store
	}
	p = second.dial(t)
	for _, request := range []struct{ below, body, key string }{{"", later, "later"}, {"/batch", batch, "batch"}} {
		a := p.request("POST", request.below, request.body, "Idempotency-Key: "+request.key).read("POST")
		if a.StatusCode != 200 || a.body != want[request.key] || a.Header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("got %d %s, want %s", a.StatusCode, a.body, want[request.key])
		}
		p.request("POST", request.below, request.body+" ", "Idempotency-Key: "+request.key).wantRefusal(409, "another request")
	}
	if calls := second.recorder.take(); len(calls) != 0 {
		t.Errorf("delivered again: %+v", calls)
	}
	if got, want := second.Stats(), (Stats{Replayed: 2, Refused: 2}); got != want {
		t.Errorf("Stats %+v, want %+v", got, want)
	}
}

func TestDamagedReceiptsAreCounted(t *testing.T) {
	good := appendReceipt(nil, &attempt{key: digest{9}, until: 2000}, &outcome{id: pushID{1, 2}, due: 3})
	s := NewServer(DefaultOptions(), nowhere{})
	damaged := [][]byte{nil, {}, good[:8], good[:receiptLength-1]}
	for _, at := range []int{8, 8 + 1 + 32, 8 + 1 + 32 + 8} { // version, time, key
		bad := bytes.Clone(good)
		bad[at] = 0xff
		damaged = append(damaged, bad)
	}
	for i, raw := range damaged {
		s.restoreReceipt(raw, time.UnixMilli(1000))
		if got := s.Stats().LostReceipts; got != uint64(i+1) {
			t.Errorf("receipt %d, %x: %d are lost", i, raw, got)
		}
	}
	s.restoreReceipt(good, time.UnixMilli(2000)) // expired: nothing is lost
	if len(s.promises.kept) != 0 {
		t.Error("an expired receipt was taken up")
	}
	s.restoreReceipt(good, time.UnixMilli(1999))
	if len(s.promises.kept) != 1 || s.Stats().LostReceipts != uint64(len(damaged)) {
		t.Error("a good receipt was not taken up")
	}

	o := DefaultOptions()
	o.MaxIdempotencyBytes = promiseCost
	s = NewServer(o, nowhere{})
	s.restoreReceipt(good, time.UnixMilli(1000))
	other := appendReceipt(nil, &attempt{key: digest{8}, until: 2000}, &outcome{id: pushID{1, 3}, due: 3})
	s.restoreReceipt(other, time.UnixMilli(1000))
	if got := s.Stats().LostReceipts; got != 1 {
		t.Errorf("%d receipts are lost for want of room, want 1", got)
	}
}

// The wall clock may be set between two servers: what is on disk then lasts no
// longer than a promise that is made now, and not less than it says.
func TestReceiptsWhenTheClockWasSet(t *testing.T) {
	const now = 1733890000000
	window := DefaultOptions().Window.Milliseconds()
	for _, test := range []struct {
		name  string
		until int64
		left  int64 // 0: it is over
	}{
		{"not set", now + 1000, 1000},
		{"made now", now + window, window},
		{"set back by an hour", now + 1000 + time.Hour.Milliseconds(), window},
		{"set forth by an hour", now + 1000 - time.Hour.Milliseconds(), 0},
		{"damaged", -1 << 63, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := NewServer(DefaultOptions(), nowhere{})
			a := &attempt{key: digest{1}, request: digest{2}, until: test.until}
			s.restoreReceipt(appendReceipt(nil, a, &outcome{id: pushID{1, 2}, due: 3}), time.UnixMilli(now))
			start := s.steady(time.UnixMilli(now))
			p, kept := s.promises.kept[a.key]
			if kept != (test.left > 0) || kept && p.expires != start+test.left || s.Stats().LostReceipts != 0 {
				t.Errorf("kept %t, %d ms left, want %d", kept, p.expires-start, test.left)
			}
		})
	}
}

// A retry of what was accepted is answered by a server with a smaller MaxDelay
// and a stricter rule for broadcasts, and only a retry.
func TestRetryIsAnsweredUnderOtherSettings(t *testing.T) {
	secret := []byte("0123456789abcdef")
	first := startRelay(t, func(o *Options, _ *recorder) { o.Secret = secret })
	const key = "Idempotency-Key: k"
	bodies := map[string]string{
		"delay_seconds": `{"event_name":"e","subject":1,"token":"u","delay_seconds":500}`,
		"deliver_at":    fmt.Sprintf(`{"event_name":"e","subject":1,"token":"u","deliver_at":%d}`, inSeconds(500)),
		"broadcast":     `{"event_name":"e","subject":1,"delay_seconds":5}`,
	}
	want := map[string]string{}
	for name, body := range bodies {
		want[name] = first.dial(t).request("POST", "", body, key+name).read("POST").body
	}
	second := startRelay(t, func(o *Options, _ *recorder) {
		o.Secret, o.MaxDelay, o.RequireExplicitBroadcast = secret, 10*time.Second, true
	})
	for _, raw := range first.recorder.receipts {
		second.RestoreReceipt(raw)
	}
	p := second.dial(t)
	for name, body := range bodies {
		a := p.request("POST", "", body, key+name).read("POST")
		if a.StatusCode != 200 || a.body != want[name] || a.Header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s: got %d %s, want %s", name, a.StatusCode, a.body, want[name])
		}
		p.request("POST", "", body, "Idempotency-Key: other").wantRefusal(400, "")
	}
	if calls := second.recorder.take(); len(calls) != 0 {
		t.Errorf("delivered again: %+v", calls)
	}
}
