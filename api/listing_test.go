package api

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"gorelay/engine"
)

// pages reads a listing page by page and returns the ids and the lengths.
func (p *publisher) pages(query string) (ids []string, lengths []int) {
	p.t.Helper()
	cursor := ""
	for {
		page := p.request("GET", "?"+query+cursor, "").wantData()
		for _, item := range page.Items {
			ids = append(ids, item.ID)
		}
		lengths = append(lengths, len(page.Items))
		if page.NextCursor == nil {
			return ids, lengths
		}
		cursor = "&cursor=" + *page.NextCursor
	}
}

func TestListing(t *testing.T) {
	r, _ := startOnEngine(t)
	p := r.dial(t)
	p.request("GET", "?status=scheduled", "").wantAnswer(200, `{"code":0,"msg":"ok","data":{"items":[],"next_cursor":null}}`)
	// Due times go up and down, and several are the same.
	base := inSeconds(500)
	byDue := map[int64][]string{}
	var forA []string
	for i := range 25 {
		due := base + int64(i*7%5)
		fields := []string{``, `,"token":"a"`, `,"token":"b&c"`, `,"tokens":["a","b&c"]`}[i%4]
		id := p.post(fmt.Sprintf(`{"event_name":"e","subject":1,"deliver_at":%d%s}`, due, fields)).wantData().ID
		byDue[due] = append(byDue[due], id)
	}
	var want []string
	for due := base; due < base+5; due++ {
		want = append(want, byDue[due]...)
	}
	for _, query := range []string{"token=", "limit=1000", "limit=3", "limit=1", "limit=25", "status=scheduled&limit=7", "status=&limit=&cursor=&token="} {
		if ids, lengths := p.pages(query); fmt.Sprint(ids) != fmt.Sprint(want) {
			t.Errorf("%q: pages of %v, got %v, want %v", query, lengths, ids, want)
		}
	}
	for _, item := range p.request("GET", "?token=a", "").wantData().Items {
		if item.TargetUserID != "a" && fmt.Sprint(item.Tokens) != "[a b&c]" || item.Status != "scheduled" || item.DeliverAt == nil {
			t.Errorf("for a: %+v", item)
		}
		forA = append(forA, item.ID)
	}
	if len(forA) != 12 {
		t.Errorf("%d for a, want 12", len(forA))
	}
	if ids, _ := p.pages("token=a&limit=2"); fmt.Sprint(ids) != fmt.Sprint(forA) {
		t.Errorf("for a: %v, want %v", ids, forA)
	}
	if ids, _ := p.pages("token=" + url.QueryEscape("b&c")); len(ids) != 12 {
		t.Errorf("%d for b&c, want 12", len(ids))
	}
	if ids, _ := p.pages("token=nobody"); len(ids) != 0 {
		t.Errorf("%d for nobody", len(ids))
	}
	if a := p.request("HEAD", "?limit=1", "").read("HEAD"); a.StatusCode != 200 || a.body != "" {
		t.Errorf("HEAD: %d %q", a.StatusCode, a.body)
	}
	p.request("DELETE", "/"+want[0], "").wantStatus(200)
	if ids, _ := p.pages("limit=10"); fmt.Sprint(ids) != fmt.Sprint(want[1:]) {
		t.Errorf("after a cancel: %v", ids)
	}
}

// More than are fetched at once are one page all the same.
func TestListingJoinsItsSteps(t *testing.T) {
	r, _ := startOnEngine(t)
	p := r.dial(t)
	item := fmt.Sprintf(`{"event_name":"e","subject":1,"deliver_at":%d}`, inSeconds(500))
	n := 2*listStep + 1
	p.request("POST", "/batch", `{"items":[`+strings.Repeat(item+",", n-1)+item+`]}`).wantStatus(200)
	for limit, want := range map[int]string{1000: "[401]", 2 * listStep: "[400 1]", listStep + 1: "[201 200]"} {
		ids, lengths := p.pages(fmt.Sprintf("limit=%d", limit))
		seen := map[string]bool{}
		for _, id := range ids {
			seen[id] = true
		}
		if fmt.Sprint(lengths) != want || len(seen) != n {
			t.Errorf("limit %d: pages of %v, %d ids", limit, lengths, len(seen))
		}
	}
}

// A page of pushes for very many users ends early.
func TestListingIsBoundedInBytes(t *testing.T) {
	r, _ := startOnEngine(t)
	p := r.dial(t)
	tokens := `["` + strings.Repeat("x", 20_000) + `","y"]`
	item := fmt.Sprintf(`{"event_name":"e","subject":1,"tokens":%s,"deliver_at":%d}`, tokens, inSeconds(500))
	n := 2 * listStep
	for range n / 40 {
		p.request("POST", "/batch", `{"items":[`+strings.Repeat(item+",", 39)+item+`]}`).wantStatus(200)
	}
	if ids, lengths := p.pages("limit=1000"); fmt.Sprint(lengths) != fmt.Sprint([]int{listStep, listStep, 0}) || len(ids) != n {
		t.Errorf("pages of %v", lengths)
	}
}

func TestListingRefuses(t *testing.T) {
	r := startRelay(t)
	p := r.dial(t)
	cursor := func(p engine.Place) string { return strings.Trim(string(appendCursor(nil, p)), `"`) }
	good := cursor(engine.Place{Due: 1733890000000, Key: 7})
	for _, test := range []struct{ query, msg string }{
		{"status=fired", "status must be scheduled"}, {"status=Scheduled", "status must be scheduled"}, {"status=%zz", "status must be scheduled"},
		{"limit=0", "limit must be"}, {"limit=1001", "limit must be"}, {"limit=-1", "limit must be"}, {"limit=x", "limit must be"},
		{"limit=1.0", "limit must be"}, {"limit=%2B1", "limit must be"}, {"limit=%", "limit must be"}, {"limit=99999999999999999999", "limit must be"},
		{"token=%", "token must be"}, {"token=%ff", "token must be"},
		{"cursor=x", "cursor must be"}, {"cursor=%", "cursor must be"}, {"cursor=" + good + "A", "cursor must be"}, {"cursor=" + good[1:], "cursor must be"},
		{"cursor=" + good + "%3D", "cursor must be"}, {"cursor=" + cursor(engine.Place{Due: -1, Key: 7}), "cursor must be"},
		{"cursor=" + cursor(engine.Place{Due: 1, Key: 1 << keyBits}), "cursor must be"},
		{"cursor=AAAAAAAAAAAAAAAAAAAAAA", "cursor must be"},
	} {
		p.request("GET", "?"+test.query, "").wantRefusal(400, test.msg)
	}
	p.request("GET", "?cursor="+good, "").wantStatus(200)
	for _, test := range []struct {
		err    error
		status int
		text   string
	}{
		{fmt.Errorf("%w: x", engine.ErrUnstored), 503, "cannot read delayed pushes"},
		{engine.ErrStopping, 503, "stopping"},
		{errors.New("surprise"), 500, "internal error"},
	} {
		r.recorder.err = test.err
		id := string(r.ids.append(nil, pushID{1, 1}))
		p.request("GET", "?status=scheduled", "").wantRefusal(test.status, test.text)
		p.request("GET", "/"+id, "").wantRefusal(test.status, test.text)
	}
}
