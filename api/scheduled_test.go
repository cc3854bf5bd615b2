package api

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"gorelay/engine"
)

func TestScheduledPushIsFoundAndTakenBack(t *testing.T) {
	r, dialer := startOnEngine(t)
	p := r.dial(t)
	client := connect(t, dialer, "/ws?token=u")
	for _, test := range []struct {
		name, fields string
		want         accepted
	}{
		{"user", `,"token":{"id":1e3}`, accepted{TargetUserID: "1000"}},
		{"quotes", `,"token":"a\"\n"`, accepted{TargetUserID: "a\"\n"}},
		{"everyone", ``, accepted{Broadcast: true}},
		{"several", `,"tokens":["u",7,"\"","u"]`, accepted{Tokens: []string{"u", "7", `"`}}},
		{"a list of one", `,"tokens":["u"]`, accepted{Tokens: []string{"u"}}},
		{"one twice", `,"tokens":[7,"7"]`, accepted{Tokens: []string{"7"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p.t = t
			before, due := time.Now().UnixMilli(), inSeconds(500)
			id := p.post(fmt.Sprintf(`{"event_name":"e","subject":1,"deliver_at":%d%s}`, due, test.fields)).wantData().ID
			for _, text := range []string{id, strings.ToUpper(id)} {
				got := p.request("GET", "/"+text, "").wantData()
				created := got.CreatedAt
				if got.ID != id || got.Status != "scheduled" || *got.DeliverAt != due || created < before || created > time.Now().UnixMilli() ||
					got.Broadcast != test.want.Broadcast || got.TargetUserID != test.want.TargetUserID || fmt.Sprint(got.Tokens) != fmt.Sprint(test.want.Tokens) {
					t.Fatalf("got %+v, want %+v", got, test.want)
				}
			}
			if a := p.request("HEAD", "/"+id, "").read("HEAD"); a.StatusCode != 200 || a.body != "" || a.ContentLength <= 0 {
				t.Fatalf("HEAD: %d %q, length %d", a.StatusCode, a.body, a.ContentLength)
			}
			p.request("DELETE", "/"+id, "").wantAnswer(200, `{"code":0,"msg":"ok","data":{"id":"`+id+`","status":"cancelled"}}`)
			p.request("DELETE", "/"+id, "").wantRefusal(404, "cancelled")
			p.request("GET", "/"+id, "").wantRefusal(404, "cancelled")
		})
	}
	wantNothing(t, client)
}

func TestScheduledPushFires(t *testing.T) {
	r, dialer := startOnEngine(t)
	p := r.dial(t)
	client := connect(t, dialer, "/ws?token=u")
	due := time.Now().UnixMilli() + 30
	data := p.post(fmt.Sprintf(`{"event_name":"e","subject":1,"token":"u","include_id":true,"deliver_at":%d}`, due)).wantData()
	text := receive(t, client)
	var ts int64
	if _, err := fmt.Sscanf(text, `{"event":"e","data":{"subject":1,"ts":%d,`, &ts); err != nil || ts < due || !strings.HasSuffix(text, `,"token":"u","id":"`+data.ID+`"}}`) {
		t.Fatalf("got %s, due at %d: %v", text, due, err)
	}
	p.request("GET", "/"+data.ID, "").wantRefusal(404, "it has fired")
	p.request("DELETE", "/"+data.ID, "").wantRefusal(409, "it has fired")
}

func TestPushThatCannotBeTakenBack(t *testing.T) {
	r := startRelay(t, func(_ *Options, rec *recorder) {
		rec.disk = fmt.Errorf("%w: %w", engine.ErrUnstored, syscall.ENOSPC)
	})
	p := r.dial(t)
	id := p.post(`{"event_name":"e","subject":1}`).wantData().ID
	if a := p.request("DELETE", "/"+id, "").wantRefusal(503, "the disk is full"); a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestIDsThatDoNotWait(t *testing.T) {
	r, _ := startOnEngine(t)
	p := r.dial(t)
	id := p.post(`{"event_name":"e","subject":1}`).wantData().ID
	p.request("GET", "/"+id, "").wantRefusal(404, "it has fired")
	p.request("DELETE", "/"+id, "").wantRefusal(409, "it has fired")
	for _, method := range []string{"GET", "DELETE"} {
		p.request(method, "/"+someUUID, "").wantRefusal(404, "unknown id")
	}
	// The key of a push that waits under the time of another, with a code
	// that is right by chance.
	later := p.post(`{"event_name":"e","subject":1,"delay_seconds":500}`).wantData().ID
	waiting, _ := r.ids.parse([]byte(later))
	forged := string(r.ids.append(nil, pushID{waiting.ms + 1, waiting.key}))
	for _, method := range []string{"GET", "DELETE"} {
		p.request(method, "/"+forged, "").wantRefusal(404, "unknown id")
	}
	p.request("GET", "/"+later, "").wantData()
}

func TestEveryRouteNeedsTheKey(t *testing.T) {
	r := startRelay(t)
	p := r.dial(t)
	for _, route := range routes {
		for method, h := range map[string]handler{"GET": route.get, "POST": route.post, "DELETE": route.remove} {
			below := strings.Replace(route.below, belowID, "/"+someUUID, 1)
			p.write("%s /api/push%s HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", method, below)
			if h == nil {
				a := p.wantRefusal(405, "use "+route.allow)
				if strings.Contains(a.Header.Get("Allow"), method) || a.Header.Get("Allow") != route.allow {
					t.Errorf("%s %s: Allow %q", method, below, a.Header.Get("Allow"))
				}
				continue
			}
			if !strings.Contains(route.allow, method) {
				t.Errorf("%s %s is not in Allow: %s", method, below, route.allow)
			}
			p.wantRefusal(401, "invalid api key")
		}
	}
	for _, path := range TakenPaths("/api/push") {
		if route, _ := r.routeOf([]byte(path), nil); route == nil || route.below == "" || route.below == belowID {
			t.Errorf("%s is not taken", path)
		}
	}
}

func TestPushPathsOfAllShapes(t *testing.T) {
	for _, test := range []struct{ pushPath, path, below string }{
		{"/", "/", ""}, {"/", "/batch", belowBatch}, {"/", "/" + someUUID, belowID}, {"/", "/x", "-"}, {"/", "//batch", "-"},
		{"/p/", "/p/", ""}, {"/p/", "/p/batch", belowBatch}, {"/p/", "/p", "-"}, {"/p/", "/p//batch", "-"},
		{"/p", "/p", ""}, {"/p", "/p/online", belowOnline}, {"/p", "/p/", "-"}, {"/p", "/pbatch", "-"}, {"/p", "/q/batch", "-"},
		{"/p", "/p/{id}", "-"}, {"/p", "", "-"},
	} {
		o := DefaultOptions()
		o.PushPath = test.pushPath
		route, _ := NewServer(o, nowhere{}).routeOf([]byte(test.path), nil)
		got := "-"
		if route != nil {
			got = route.below
		}
		if got != test.below {
			t.Errorf("push path %s: %s is %q, want %q", test.pushPath, test.path, got, test.below)
		}
	}
}
