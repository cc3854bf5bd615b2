package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"gorelay/engine"
)

func TestPushIsDeliveredAndAnswered(t *testing.T) {
	r := startRelay(t)
	p := r.dial(t) // one connection for all: keep-alive
	for _, test := range []struct {
		name, fields string // of the push, behind event_name and subject
		call         string // kind and user
		data         string // of the answer, behind event_name
	}{
		{"token", `,"token":"USER_123"`, "send USER_123",
			`"delay_seconds":0,"target_user_id":"USER_123","broadcast":false,"parsed_user_raw":"USER_123","matched":3`},
		{"number", `,"token":9007199254740993`, "send 9007199254740993",
			`"delay_seconds":0,"target_user_id":"9007199254740993","broadcast":false,"parsed_user_raw":9007199254740993,"matched":3`},
		{"object", `,"token":{"id" : 1e3}`, "send 1000",
			`"delay_seconds":0,"target_user_id":"1000","broadcast":false,"parsed_user_raw":{"id" : 1e3},"matched":3`},
		{"quotes", `,"token":"a\"\u005c\n"`, "send a\"\\\n",
			`"delay_seconds":0,"target_user_id":"a\"\\\n","broadcast":false,"parsed_user_raw":"a\"\u005c\n","matched":3`},
		{"no token", ``, "broadcast ",
			`"delay_seconds":0,"target_user_id":"","broadcast":true,"parsed_user_raw":null,"matched":7`},
		{"empty list", `,"token":[ ]`, "broadcast ",
			`"delay_seconds":0,"target_user_id":"","broadcast":true,"parsed_user_raw":[ ],"matched":7`},
		{"negative delay", `,"delay_seconds":-5,"token":"u"`, "send u",
			`"delay_seconds":-5,"target_user_id":"u","broadcast":false,"parsed_user_raw":"u","matched":3`},
		{"delay", `,"delay_seconds":5e1,"token":"u"`, "schedule u",
			`"delay_seconds":50,"target_user_id":"u","broadcast":false,"parsed_user_raw":"u"`},
		{"delayed broadcast", `,"delay_seconds":60`, "schedule ",
			`"delay_seconds":60,"target_user_id":"","broadcast":true,"parsed_user_raw":null`},
	} {
		t.Run(test.name, func(t *testing.T) {
			p.t = t
			before := time.Now().UnixMilli()
			p.post(`{"event_name":"e\u0041","subject":{"b":1.0,"a":2}` + test.fields + `}`)
			p.wantAnswer(200, `{"code":0,"msg":"ok","data":{"event_name":"e\u0041",`+test.data+`}}`)
			calls := r.recorder.take()
			if len(calls) != 1 || calls[0].kind+" "+calls[0].user != test.call {
				t.Fatalf("deliveries %+v, want %s", calls, test.call)
			}
			payload := calls[0].payload
			const head = `{"event":"e\u0041","data":{"subject":{"b":1.0,"a":2},"ts":`
			var ts int64
			if _, err := fmt.Sscanf(strings.TrimPrefix(payload, head), "%13d,", &ts); err != nil || ts < before {
				t.Fatalf("payload %s: %v", payload, err)
			}
			if calls[0].kind == "schedule" && (calls[0].stamp != len(head) || calls[0].in > 60*time.Second+time.Millisecond || calls[0].in <= 0) {
				t.Fatalf("scheduled %+v", calls[0])
			}
		})
	}
	if got := r.Stats(); got != (Stats{Accepted: 9}) {
		t.Errorf("Stats %+v", got)
	}
}

func TestPushKey(t *testing.T) {
	r := startRelay(t)
	const body = `{"event_name":"e","subject":1}`
	for _, test := range []struct {
		name, query, headers string
		admitted             bool
	}{
		{"X-API-KEY", "", "X-API-KEY: test-key\r\n", true},
		{"x-api-key", "", "x-api-key: test-key\r\n", true},
		{"API-KEY", "", "API-KEY: test-key\r\n", true},
		{"query", "?api_key=test-key", "", true},
		{"encoded query", "?a=b&api_key=test%2Dkey", "", true},
		{"header before query", "?api_key=wrong", "X-API-KEY: test-key\r\n", true},
		{"empty header", "?api_key=test-key", "X-API-KEY: \r\nAPI-KEY:\r\n", true},
		{"empty long header", "", "X-API-KEY: \r\nAPI-KEY: test-key\r\n", true},
		{"none", "", "", false},
		{"wrong", "", "X-API-KEY: test-kez\r\n", false},
		{"short", "", "X-API-KEY: test-ke\r\n", false},
		{"long", "", "X-API-KEY: test-key1\r\n", false},
		{"other case", "", "X-API-KEY: TEST-KEY\r\n", false},
		{"wrong first header", "?api_key=test-key", "X-API-KEY: wrong\r\nAPI-KEY: test-key\r\n", false},
		{"wrong second header", "?api_key=test-key", "API-KEY: wrong\r\n", false},
		{"broken query", "?api_key=test-key%", "", false},
		{"empty query", "?api_key=", "", false},
		{"bearer", "", "Authorization: Bearer test-key\r\n", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := r.dial(t).write("POST /api/push%s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n%s", test.query, test.headers, len(body), body)
			if test.admitted {
				p.wantAnswer(200, `{"code":0,"msg":"ok","data":{"event_name":"e","delay_seconds":0,"target_user_id":"","broadcast":true,"parsed_user_raw":null,"matched":7}}`)
				return
			}
			p.wantAnswer(401, `{"code":-1,"msg":"invalid api key"}`)
		})
		if calls := r.recorder.take(); (len(calls) == 1) != test.admitted || len(calls) > 1 {
			t.Errorf("%s: deliveries %+v", test.name, calls)
		}
	}
}

const someUUID = "01939d5e-3c00-7000-8000-0000000000FF"

func TestRoutes(t *testing.T) {
	r := startRelay(t)
	p := r.dial(t)
	for _, test := range []struct {
		method, target string
		status         int
		allow          string
	}{
		{"GET", "/health", 200, ""}, {"GET", "/health?x=1", 200, ""}, {"HEAD", "/health", 200, ""},
		{"GET", "http://x/health", 200, ""},
		{"POST", "/health", 405, "GET, HEAD"}, {"DELETE", "/health", 405, "GET, HEAD"},
		{"PUT", "/api/push", 405, "POST"}, {"OPTIONS", "/api/push", 405, "POST"},
		{"GET", "/api/push", 405, "POST"}, {"GET", "/api/push?api_key=k&x=1", 405, "POST"}, {"PUT", "/api/push?status=scheduled", 405, "GET, POST"},
		{"DELETE", "/api/push", 405, "POST"}, {"post", "/api/push", 405, "POST"},
		{"GET", "/api/push/batch", 405, "POST"}, {"HEAD", "/api/push/batch", 405, "POST"}, {"PUT", "/api/push/online", 405, "GET, POST"},
		{"GET", "/api/push/disconnect", 405, "POST"}, {"POST", "/api/push/" + someUUID, 405, "GET, DELETE"},
		{"GET", "/api/push/x", 404, ""}, {"DELETE", "/api/push/x", 404, ""}, {"GET", "/api/push/{id}", 404, ""},
		{"POST", "/api/push/batch/", 404, ""}, {"GET", "/api/push/" + someUUID + "/", 404, ""}, {"POST", "/api/pushbatch", 404, ""},
		{"GET", "/", 404, ""}, {"GET", "/health/", 404, ""}, {"GET", "/HEALTH", 404, ""}, {"HEAD", "/x", 404, ""},
		{"POST", "/api/push/", 404, ""}, {"POST", "//api/push", 404, ""}, {"POST", "/api//push", 404, ""},
		{"POST", "/api/./push", 404, ""}, {"POST", "/x/../api/push", 404, ""}, {"POST", "/api/pus%68", 404, ""},
		{"POST", "/ws", 404, ""}, {"GET", "/ws/", 404, ""}, {"OPTIONS", "*", 404, ""},
	} {
		t.Run(test.method+" "+test.target, func(t *testing.T) {
			p.t = t
			p.write("%s %s HTTP/1.1\r\nHost: x\r\nX-API-KEY: %s\r\nContent-Length: 2\r\n\r\n{}", test.method, test.target, testKey)
			if test.method == "HEAD" {
				if a := p.read("HEAD"); a.StatusCode != test.status || a.Header.Get("Allow") != test.allow {
					t.Fatalf("status %d, Allow %q", a.StatusCode, a.Header.Get("Allow"))
				}
				return
			}
			if test.status == 200 {
				p.wantAnswer(200, `{"status":"ok"}`)
				return
			}
			text := map[int]string{404: "not found", 405: "method not allowed: use " + test.allow}[test.status]
			if a := p.wantRefusal(test.status, text); a.Header.Get("Allow") != test.allow {
				t.Fatalf("Allow %q", a.Header.Get("Allow"))
			}
		})
	}
	if calls := r.recorder.take(); calls != nil {
		t.Errorf("delivered %+v", calls)
	}
}

func TestEngineErrors(t *testing.T) {
	for _, test := range []struct {
		err    error
		status int
		text   string
	}{
		{engine.ErrSaturated, 503, "saturated"},
		{engine.ErrStopping, 503, "stopping"},
		{fmt.Errorf("schedule: %w", engine.ErrTooMany), 503, "too many delayed pushes"},
		{errors.New("surprise"), 500, "internal error"},
		{fmt.Errorf("%w: %w", engine.ErrUnstored, syscall.ENOSPC), 503, "cannot store delayed pushes: the disk is full"},
		{fmt.Errorf("%w: %w", engine.ErrUnstored, &os.PathError{Op: "write", Path: "x", Err: syscall.EDQUOT}), 503, "the disk is full"},
		{fmt.Errorf("%w: %w", engine.ErrUnstored, syscall.EROFS), 503, "cannot store delayed pushes: the disk is read-only"},
		{fmt.Errorf("%w: %w", engine.ErrUnstored, syscall.EPERM), 503, "cannot store delayed pushes: the disk is read-only"},
		{fmt.Errorf("%w: %w", engine.ErrUnstored, syscall.EIO), 503, "cannot store delayed pushes: the disk fails"},
	} {
		t.Run(test.err.Error(), func(t *testing.T) {
			r := startRelay(t, func(_ *Options, rec *recorder) { rec.err = test.err })
			for _, fields := range []string{``, `,"token":1`, `,"delay_seconds":1`, `,"tokens":[1,2]`} {
				a := r.dial(t).post(`{"event_name":"e","subject":1`+fields+`}`).wantRefusal(test.status, test.text)
				if retry := a.Header.Get("Retry-After"); (retry != "") != (test.status == 503) {
					t.Fatalf("Retry-After %q", retry)
				}
			}
			if r.Stats().Accepted != 0 {
				t.Error("counted as accepted")
			}
		})
	}
}

func TestPanicIsA500(t *testing.T) {
	r := startRelay(t, func(_ *Options, rec *recorder) { rec.panic = "secret-token" })
	p := r.dial(t).post(`{"event_name":"e","subject":1,"token":"secret-token"}`)
	p.wantRefusal(500, "internal error")
	p.wantEnd()
	r.dial(t).write("GET /health HTTP/1.1\r\nHost: x\r\n\r\n").wantAnswer(200, `{"status":"ok"}`)
	if got := r.Stats().Panics; got != 1 {
		t.Errorf("%d panics counted", got)
	}
	if log := r.log.String(); !strings.Contains(log, "panicked") || strings.Contains(log, "secret-token") {
		t.Errorf("log: %s", log)
	}
}

func TestPipelining(t *testing.T) {
	r := startRelay(t)
	p := r.dial(t)
	one := fmt.Sprintf("POST /api/push HTTP/1.1\r\nHost: x\r\nX-API-KEY: %s\r\nContent-Length: 40\r\n\r\n", testKey)
	var all strings.Builder
	for i := range 50 {
		all.WriteString(one)
		fmt.Fprintf(&all, "%-40s", fmt.Sprintf(`{"event_name":"e","subject":%d}`, i))
	}
	p.write("%s", all.String())
	for range 50 {
		p.wantStatus(200)
	}
	for i, c := range r.recorder.take() {
		if !strings.Contains(c.payload, fmt.Sprintf(`"subject":%d,`, i)) {
			t.Fatalf("delivery %d: %s", i, c.payload)
		}
	}
}

func TestShutdownFinishesWhatRunsAndRefusesTheRest(t *testing.T) {
	r := startRelay(t, func(_ *Options, rec *recorder) {
		rec.enter, rec.leave = make(chan struct{}), make(chan struct{})
		rec.plain = true
	})
	running := r.dial(t).post(`{"event_name":"e","subject":"running"}`)
	<-r.recorder.enter
	const body = `{"event_name":"e","subject":"late"}`
	late := r.dial(t).write("POST /api/push HTTP/1.1\r\nHost: x\r\nX-API-KEY: %s\r\nContent-Length: %d\r\n\r\n", testKey, len(body))
	for r.openConns() < 2 { // both are accepted
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- r.Shutdown(ctx) }()
	for !r.stopping.Load() {
		time.Sleep(time.Millisecond)
	}
	a := late.write(body).wantRefusal(503, "stopping")
	if a.Header.Get("Retry-After") == "" || !a.Close {
		t.Errorf("headers %v", a.Header)
	}
	late.wantEnd()
	r.recorder.leave <- struct{}{}
	running.wantStatus(200)
	running.wantEnd()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if calls := r.recorder.take(); len(calls) != 1 || !strings.Contains(calls[0].payload, "running") {
		t.Fatalf("deliveries %+v", calls)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Serve(ln); !errors.Is(err, ErrClosed) {
		t.Errorf("Serve after Shutdown: %v", err)
	}
}

// A request that never comes in whole must not hold a stop up.
func TestShutdownDoesNotWaitForHalfARequest(t *testing.T) {
	r := startRelay(t, func(o *Options, _ *recorder) { o.ReadTimeout, o.IdleTimeout = time.Hour, time.Hour })
	p := r.dial(t).write("POST /api/push HTTP/1.1\r\nHost: x\r\nX-API-KEY: %s\r\nContent-Length: 100\r\n\r\n{", testKey)
	for r.openConns() == 0 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if calls := r.recorder.take(); len(calls) != 0 {
		t.Fatalf("deliveries %+v", calls)
	}
	p.wantStatus(408)
	p.wantEnd()
}

func TestShutdownClosesEverythingWhenItsTimeIsOver(t *testing.T) {
	r := startRelay(t)
	p := r.dial(t).write("POST /api/push HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
	for r.openConns() == 0 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("Shutdown: %v", err)
	}
	p.wantEnd()
}

// openConns is how many connections the relay has open.
func (r *relay) openConns() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, l := range r.listeners {
		l.mu.Lock()
		n += len(l.open)
		l.mu.Unlock()
	}
	return n
}
