package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"gorelay/engine"
)

// pushOf is a whole request with the key.
func pushOf(body string, headers ...string) string {
	headers = append(headers, "Host: x", "X-API-KEY: "+testKey, fmt.Sprintf("Content-Length: %d", len(body)))
	return "POST /api/push HTTP/1.1\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n" + body
}

// What may be answered in place, and what not, on the way there.
var inPlaceRequests = []struct {
	name, request string
	verdict       engine.Verdict
}{
	{"a push", pushOf(`{"event_name":"e","subject":1,"token":"a"}`), engine.Answered},
	{"a broadcast", pushOf(`{"event_name":"e","subject":null}`), engine.Answered},
	{"several tokens", pushOf(`{"event_name":"e","subject":1,"tokens":["a","b","a"]}`), engine.Answered},
	{"the key in the query", strings.NewReplacer("/api/push", "/api/push?api_key="+testKey, "X-API-KEY: "+testKey+"\r\n", "").Replace(pushOf(`{"event_name":"e","subject":1}`)), engine.Answered},
	{"a query of a listing", strings.Replace(pushOf(`{"event_name":"e","subject":1}`), "/api/push", "/api/push?limit=1", 1), engine.Answered},
	{"no delay", pushOf(`{"event_name":"e","subject":1,"delay_seconds":0}`), engine.Answered},
	{"a time that has passed", pushOf(`{"event_name":"e","subject":1,"deliver_at":1}`), engine.Answered},
	{"an id", pushOf(`{"event_name":"e","subject":1,"include_id":true}`), engine.Answered},
	{"its head alone", pushOf("x")[:75], engine.Partial},
	{"half a body", pushOf(`{"event_name":"e","subject":1}`)[:100], engine.Partial},
	{"a delay", pushOf(`{"event_name":"e","subject":1,"delay_seconds":9}`), engine.Foreign},
	{"a delivery time", pushOf(`{"event_name":"e","subject":1,"deliver_at":99999999999999}`), engine.Foreign},
	{"an Idempotency-Key", pushOf(`{"event_name":"e","subject":1}`, "Idempotency-Key: k"), engine.Foreign},
	{"an empty Idempotency-Key", pushOf(`{"event_name":"e","subject":1}`, "Idempotency-Key:"), engine.Foreign},
	{"two Idempotency-Keys", pushOf(`{"event_name":"e","subject":1}`, "Idempotency-Key:", "Idempotency-Key: k"), engine.Foreign},
	{"a malformed host", strings.Replace(pushOf(`{"event_name":"e","subject":1}`), "Host: x", "Host: a:b:c", 1), engine.Foreign},
	{"no JSON", pushOf(`{"event_name":`), engine.Foreign},
	{"no subject", pushOf(`{"event_name":"e"}`), engine.Foreign},
	{"no body", pushOf(""), engine.Foreign},
	{"another key", strings.Replace(pushOf(`{"event_name":"e","subject":1}`), testKey, "wrong", 1), engine.Foreign},
	{"another path", strings.Replace(pushOf(`{"event_name":"e","subject":1}`), "/api/push", "/api/push/batch", 1), engine.Foreign},
	{"another method", "GET /health HTTP/1.1\r\nHost: x\r\n\r\n", engine.Foreign},
	{"the last of its connection", pushOf(`{"event_name":"e","subject":1}`, "Connection: close"), engine.Foreign},
	{"HTTP/1.0", strings.Replace(pushOf(`{"event_name":"e","subject":1}`), "HTTP/1.1", "HTTP/1.0", 1), engine.Foreign},
	{"an expectation", pushOf(`{"event_name":"e","subject":1}`, "Expect: 100-continue"), engine.Foreign},
	{"chunks", "POST /api/push HTTP/1.1\r\nHost: x\r\nX-API-KEY: " + testKey + "\r\nTransfer-Encoding: chunked\r\n\r\n1e\r\n" + `{"event_name":"e","subject":1}` + "\r\n0\r\n\r\n", engine.Foreign},
	{"lines that end in a line feed", strings.ReplaceAll(pushOf(`{"event_name":"e","subject":1}`), "\r\n", "\n"), engine.Partial},
	{"two lengths", pushOf(`{"event_name":"e","subject":1}`, "Content-Length: 7"), engine.Foreign},
	{"a large head", pushOf(`{"event_name":"e","subject":1}`, "X: "+strings.Repeat("x", maxHeadBytes)), engine.Foreign},
	{"a large body", pushOf(`{"event_name":"e","subject":"` + strings.Repeat("x", maxInPlace) + `"}`), engine.Foreign},
}

// The verdict is what the table says, nothing is delivered without an answer,
// and pieces get the same verdict in the end as the whole.
func TestVerdicts(t *testing.T) {
	rec := &recorder{t: t}
	o := DefaultOptions()
	o.APIKey, o.MaxDelay = testKey, testMaxDelay
	s := NewServer(o, rec)
	for _, test := range inPlaceRequests {
		request := []byte(test.request)
		n, out, v := s.answerInPlace(request, nil)
		if v != test.verdict {
			t.Errorf("%s: verdict %d, want %d", test.name, v, test.verdict)
		}
		delivered := len(rec.take())
		if answered := v == engine.Answered; answered != (delivered == 1) || answered != (n == len(request)) || answered != (len(out) > 0) {
			t.Errorf("%s: verdict %d with %d delivered, %d of %d bytes taken, answer %q", test.name, v, delivered, n, len(request), out)
		}
		for cut := range request {
			n, out, v := s.answerInPlace(request[:cut], []byte("before"))
			if v == engine.Answered || n != 0 || string(out) != "before" || len(rec.take()) > 0 {
				t.Fatalf("%s, cut at %d: verdict %d, answer %q", test.name, cut, v, out)
			}
			if v == engine.Foreign && test.verdict != engine.Foreign {
				t.Fatalf("%s, cut at %d: foreign", test.name, cut)
			}
		}
	}
}

// An answer in place is byte for byte that of the HTTP server.
func TestAnswersInPlaceAreTheServers(t *testing.T) {
	place, plain := startRelay(t), startRelay(t, plainly)
	for _, test := range inPlaceRequests {
		if test.verdict == engine.Partial {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			got, want := place.dial(t).write("%s", test.request).rawAnswer(), plain.dial(t).write("%s", test.request).rawAnswer()
			if got != want {
				t.Errorf("in place:\n%s\nthe server:\n%s", got, want)
			}
			if got, want := place.recorder.text(), plain.recorder.text(); got != want {
				t.Errorf("in place:\n%s\nthe server:\n%s", got, want)
			}
		})
	}
}

// rawAnswer reads the head and the body of an answer, without what is different
// each time.
func (p *publisher) rawAnswer() string {
	p.t.Helper()
	var raw bytes.Buffer
	for !strings.HasSuffix(raw.String(), "\r\n\r\n") {
		line, err := p.r.ReadString('\n')
		if err != nil {
			p.t.Fatalf("read answer: %v after %q", err, raw.String())
		}
		if !strings.HasPrefix(line, "Date: ") {
			raw.WriteString(line)
		} else if _, err := time.Parse("Mon, 02 Jan 2006 15:04:05 GMT", strings.TrimSpace(line[len("Date: "):])); err != nil {
			p.t.Error(err)
		}
	}
	head := raw.String()
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(head)), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if resp.StatusCode == http.StatusContinue {
		return head + p.rawAnswer()
	}
	body := make([]byte, resp.ContentLength)
	if _, err := io.ReadFull(p.r, body); err != nil {
		p.t.Fatal(err)
	}
	return head + normal(string(body))
}

// text is what was delivered, without what is different each time.
func (r *recorder) text() string {
	var b strings.Builder
	for _, c := range r.take() {
		fmt.Fprintln(&b, c.kind, c.user, normal(c.payload), c.stamp)
	}
	return b.String()
}

// normal takes out times and ids.
func normal(s string) string { return varying.ReplaceAllString(s, "*") }

var varying = regexp.MustCompile(`[0-9]{13}|[0-9a-f-]{36}`)

// A connection goes over to the server for what is not answered in place, and
// comes back after a number of pushes that are.
func TestConnectionsComeBack(t *testing.T) {
	r := startRelay(t)
	p := r.dial(t)
	const push = `{"event_name":"e","subject":1,"token":"a"}`
	for range 3 {
		p.post(`{"event_name":"e","subject":1,"delay_seconds":9}`).wantStatus(200)
		for i := range 2*returnAfter + 1 {
			p.post(push).wantStatus(200)
			if here := r.served(); i < returnAfter-1 && here != 1 {
				t.Fatalf("after %d pushes the server has %d connections", i+1, here)
			}
		}
		for end := time.Now().Add(patience); r.served() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the connection does not come back")
			}
		}
	}
	// Behind each other in one piece, over and back.
	var all strings.Builder
	for range 10 {
		all.WriteString(pushOf(`{"event_name":"e","subject":1,"delay_seconds":9}`))
		all.WriteString(strings.Repeat(pushOf(push), returnAfter+3))
	}
	p.write("%s", all.String())
	for range 10 * (returnAfter + 4) {
		p.wantStatus(200)
	}
	r.dial(t).post(push).wantStatus(200)
}

// A connection on which something else comes between the pushes stays: it would
// be handed over again at once.
func TestMixedConnectionsStay(t *testing.T) {
	r := startRelay(t)
	p := r.dial(t)
	for i := range 2 * returnAfter {
		p.write(healthRequest).wantAnswer(200, healthBody)
		if n := r.handed(); n != 1 {
			t.Fatalf("after %d pushes it has been handed over %d times", i, n)
		}
		p.post(`{"event_name":"e","subject":1}`).wantStatus(200)
	}
}

// Half a push that a loop holds when the relay stops is refused as any other.
func TestHalfAPushAtTheStop(t *testing.T) {
	o := DefaultOptions()
	o.APIKey = testKey
	eo := engine.DefaultOptions()
	eo.Addr, eo.HTTPStopping = "127.0.0.1:0", StoppingAnswer()
	e, err := engine.Listen(eo, NewClients(o))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	r := &relay{Server: NewServer(o, e), addr: e.Addr().String()}
	served := r.serve(t, e.HTTP())
	p := r.dial(t).post(`{"event_name":"e","subject":1}`)
	p.wantStatus(200)
	p.write("POST /api/push HTTP/1.1\r\n")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := errors.Join(r.Shutdown(ctx), <-served, e.Shutdown(ctx)); err != nil {
		t.Error(err)
	}
	p.wantRefusal(503, "stopping")
	p.wantEnd()
}

// served is how many connections fasthttp's server has.
func (r *relay) served() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.listeners {
		l.mu.Lock()
		n += len(l.open)
		l.mu.Unlock()
	}
	return n
}

// handed is how many connections fasthttp's server has had.
func (r *relay) handed() (n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.listeners {
		l.mu.Lock()
		n += l.arrivals
		l.mu.Unlock()
	}
	return n
}

// Whatever comes, in whatever pieces: nothing is delivered without an answer,
// and no bytes are taken that are not there.
func FuzzAnswerInPlace(f *testing.F) {
	for _, test := range inPlaceRequests {
		f.Add([]byte(test.request))
	}
	rec := &recorder{t: f}
	o := DefaultOptions()
	o.APIKey = testKey
	s := NewServer(o, rec)
	f.Fuzz(func(t *testing.T, request []byte) {
		rec.t = t
		n, out, v := s.answerInPlace(request, nil)
		calls := len(rec.take())
		switch v {
		case engine.Answered:
			if n <= 0 || n > len(request) || calls != 1 || !bytes.HasPrefix(out, []byte("HTTP/1.1 200 OK\r\n")) {
				t.Fatalf("%d of %d bytes taken, %d calls, answer %q", n, len(request), calls, out)
			}
			if _, _, v := s.answerInPlace(request[:n-1], nil); v != engine.Partial {
				t.Fatalf("verdict %d without the last byte", v)
			}
		case engine.Foreign, engine.Partial:
			if n != 0 || calls != 0 || len(out) != 0 {
				t.Fatalf("verdict %d with %d bytes taken, %d calls, answer %q", v, n, calls, out)
			}
		default:
			t.Fatalf("verdict %d", v)
		}
	})
}
