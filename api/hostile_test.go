package api

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

func TestBodyLimit(t *testing.T) {
	const limit = 100_000
	r := startRelay(t, func(o *Options, _ *recorder) { o.MaxPushBytes = limit })
	padded := func(size int) string {
		const start, end = `{"event_name":"e","subject":"`, `"}`
		return start + strings.Repeat("x", size-len(start)-len(end)) + end
	}
	head := "POST /api/push HTTP/1.1\r\nHost: x\r\nX-API-KEY: " + testKey + "\r\n"
	chunked := head + "Transfer-Encoding: chunked\r\n\r\n"
	text := fmt.Sprintf("the limit is %d bytes", limit)

	t.Run("at the limit", func(t *testing.T) {
		r.dial(t).post(padded(limit)).wantStatus(200)
		r.dial(t).write("%s%x\r\n%s\r\n0\r\n\r\n", chunked, limit, padded(limit)).wantStatus(200)
	})
	t.Run("around the read-ahead", func(t *testing.T) {
		p := r.dial(t)
		for _, size := range []int{firstBody - 1, firstBody, firstBody + 1, 2 * firstBody, 2*firstBody + 1} {
			p.post(padded(size)).wantStatus(200)
			p.write("%s%x\r\n%s\r\n0\r\n\r\n", chunked, size, padded(size)).wantStatus(200)
		}
	})
	t.Run("one more, sent", func(t *testing.T) {
		r.dial(t).post(padded(limit+1)).wantRefusal(413, text)
	})
	t.Run("one more, only declared", func(t *testing.T) {
		p := r.dial(t).write("%sContent-Length: %d\r\n\r\n", head, limit+1)
		p.wantRefusal(413, text)
		p.write("x")
	})
	t.Run("an exabyte, declared", func(t *testing.T) {
		r.dial(t).write("%sContent-Length: %d\r\n\r\n", head, int64(1)<<60).wantRefusal(413, text)
	})
	t.Run("an exabyte, declared, without the key", func(t *testing.T) {
		r.dial(t).write("POST /api/push HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", int64(1)<<60).wantRefusal(401, "key")
	})
	t.Run("an answer survives a body that nobody reads", func(t *testing.T) {
		size := 3 << 20
		p := r.dial(t).write("%sContent-Length: %d\r\n\r\n%s", head, size, padded(size))
		p.wantRefusal(413, text)
		p.wantEnd()
		p = r.dial(t).write("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", size, padded(size))
		p.wantRefusal(404, "not found")
		p.wantEnd()
	})
	t.Run("chunks", func(t *testing.T) {
		chunk := fmt.Sprintf("1000\r\n%s\r\n", strings.Repeat("x", 0x1000))
		p := r.dial(t).write("%s%s0\r\n\r\n", chunked, strings.Repeat(chunk, 1<<20/0x1000))
		p.wantRefusal(413, text)
		p.wantEnd()
	})
	t.Run("a chunk that claims a terabyte", func(t *testing.T) {
		p := r.dial(t).write("%s%x\r\n%s", chunked, int64(1)<<40, padded(limit+1))
		p.wantRefusal(413, text)
	})
	t.Run("large, without the key, all sent", func(t *testing.T) {
		p := r.dial(t).write("POST /api/push HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", limit, padded(limit))
		p.wantRefusal(401, "key")
		p.post(`{"event_name":"e","subject":1}`).wantStatus(200) // the connection lives on
	})
	t.Run("chunked, without the key, all sent", func(t *testing.T) {
		p := r.dial(t).write("POST /api/push HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", limit, padded(limit))
		p.wantRefusal(401, "key")
	})
}

func TestExpectContinue(t *testing.T) {
	r := startRelay(t)
	const body = `{"event_name":"e","subject":1}`
	const head = "POST /api/push HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\nX-API-KEY: %s\r\n\r\n"
	p := r.dial(t).write(head, len(body), testKey)
	if line, err := p.r.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	if line, err := p.r.ReadString('\n'); err != nil || line != "\r\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	p.write(body).wantStatus(200)

	// What is refused is not asked for.
	r.dial(t).write(head, len(body), "wrong").wantRefusal(401, "key")
	r.dial(t).write(head, 1<<30, testKey).wantRefusal(413, "too large")
	r.dial(t).write("POST /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").wantRefusal(404, "not found")
}

func TestBrokenHTTP(t *testing.T) {
	r := startRelay(t)
	hasty := startRelay(t, plainly, func(o *Options, _ *recorder) { o.ReadTimeout = 100 * time.Millisecond })
	key := "X-API-KEY: " + testKey + "\r\n"
	for _, test := range []struct {
		name, sent string
		status     int
		text       string
	}{
		{"garbage", "\x16\x03\x01\x02\x00\x01\r\n\r\n", 400, "malformed"},
		{"no host", "GET /health HTTP/1.1\r\n\r\n", 400, "malformed"},
		{"two lengths", "POST /api/push HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}", 400, "malformed"},
		{"negative length", "POST /api/push HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400, "malformed"},
		{"large head", "GET /health HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 9000) + "\r\n\r\n", 431, "8192"},
		{"large target", "GET /" + strings.Repeat("x", 100_000) + " HTTP/1.1\r\nHost: x\r\n\r\n", 431, "8192"},
		{"bad chunk", "POST /api/push HTTP/1.1\r\nHost: x\r\n" + key + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400, "malformed"},
		{"slow head", "POST /api/push HTT", 408, "timeout"},
		{"slow body", "POST /api/push HTTP/1.1\r\nHost: x\r\n" + key + "Content-Length: 50\r\n\r\n{", 408, "timeout"},
		{"slow long body", "POST /api/push HTTP/1.1\r\nHost: x\r\n" + key + "Content-Length: 50000\r\n\r\n" + strings.Repeat(" ", 9000), 408, "timeout"},
		{"slow chunk", "POST /api/push HTTP/1.1\r\nHost: x\r\n" + key + "Transfer-Encoding: chunked\r\n\r\n9\r\n{", 408, "timeout"},
		{"no body", "POST /api/push HTTP/1.1\r\nHost: x\r\n" + key + "\r\n", 400, "invalid json"},
	} {
		t.Run(test.name, func(t *testing.T) {
			to := r
			if test.status == 408 {
				to = hasty
			}
			to.dial(t).write("%s", test.sent).wantRefusal(test.status, test.text)
		})
	}
	t.Run("body cut off at a whole object", func(t *testing.T) {
		p := r.dial(t).write("POST /api/push HTTP/1.1\r\nHost: x\r\n%sContent-Length: 20000\r\n\r\n%-9000s", key, `{"event_name":"e","subject":1}`)
		if err := p.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		p.wantRefusal(400, "before its declared length")
	})
	if calls := r.recorder.take(); calls != nil {
		t.Errorf("delivered %+v", calls)
	}
}

// Bodies made to cost more than their bytes. Each must be answered within the
// patience of a test, under the race detector too.
func TestHostileBodies(t *testing.T) {
	r := startRelay(t)
	const depth = 100_000
	wrap := func(subject string) string { return `{"event_name":"e","subject":` + subject + `}` }
	levels := func(open, shut string, n int) string { return strings.Repeat(open, n) + strings.Repeat(shut, n) }
	for _, test := range []struct {
		name, body string
		status     int
		text       string
	}{
		{"deep lists", wrap(levels("[", "]", depth)), 400, "nested deeper"},
		{"deep lists, cut off", wrap(strings.Repeat("[", depth)), 400, "nested deeper"},
		{"deep objects", wrap(levels(`{"a":`, "}", depth)), 400, "nested deeper"},
		{"deep objects, cut off", strings.Repeat(`{"a":`, depth), 400, "nested deeper"},
		{"deepest, broken by a long literal", wrap(strings.Repeat("[", 298) + "t" + strings.Repeat("x", 1_000_000)), 400, "invalid json"},
		{"deepest, broken by a long word", wrap(strings.Repeat("[", 298) + strings.Repeat("x", 1_000_000)), 400, "invalid json"},
		{"deepest, broken by a long string", wrap(strings.Repeat("[", 298) + `"` + strings.Repeat("x", 1_000_000)), 400, "invalid json"},
		{"backslashes", wrap(`"` + strings.Repeat(`\\`, 500_000) + `"`), 200, ""},
		{"backslashes and quotes", wrap(`"` + strings.Repeat(`\"`, 500_000)), 400, "invalid json"},
		{"escaped names", "{" + strings.Repeat(`"\u0065vent_nam\u0066":1,`, 40_000) + `"event_name":"e","subject":1}`, 200, ""},
		{"many members", "{" + strings.Repeat(`"token":1,`, 100_000) + `"event_name":"e","subject":1}`, 200, ""},
		{"million-character token", `{"event_name":"e","subject":1,"token":"` + strings.Repeat("t", 1_000_000) + `"}`, 200, ""},
		{"million-digit token", `{"event_name":"e","subject":1,"token":` + strings.Repeat("7", 1_000_000) + `}`, 200, ""},
		{"million-digit exponent", `{"event_name":"e","subject":1,"token":1e` + strings.Repeat("9", 1_000_000) + `}`, 400, "exponent"},
		{"million-digit delay", `{"event_name":"e","subject":1,"delay_seconds":` + strings.Repeat("9", 1_000_000) + `}`, 400, "at most 1000"},
		{"exponent", `{"event_name":"e","subject":1,"token":1e2147483648}`, 400, "exponent"},
		{"exponent in subject", wrap("1e2147483648"), 200, ""},
		{"zeros", "{\x00}" + strings.Repeat("\x00", 100_000), 400, "invalid json"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := r.dial(t).post(test.body)
			if test.status == 200 {
				p.wantStatus(200)
			} else {
				p.wantRefusal(test.status, test.text)
			}
		})
	}
}

// trickle is a body of which only so many bytes come.
type trickle struct{ left, step int }

var errTrickle = errors.New("no more")

func (r *trickle) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, errTrickle
	}
	n := min(r.left, r.step, len(p))
	r.left -= n
	return n, nil
}

func TestBodyBufferGrowsWithWhatArrives(t *testing.T) {
	const limit = 1 << 20
	for _, declared := range []int{limit, limit / 2, -1} {
		for _, arrived := range []int{0, 1, firstBody, firstBody + 1, 100_000} {
			var req fasthttp.Request
			req.Header.SetContentLength(declared)
			buf, refused := readBody(&req, &trickle{arrived, 1000}, nil, limit)
			if refused != refusedRequest || len(buf) != arrived || cap(buf) > max(firstBody, 2*arrived) {
				t.Errorf("%d of %d bytes: %d in a buffer of %d, %v", arrived, declared, len(buf), cap(buf), refused)
			}
		}
	}
	var req fasthttp.Request
	req.Header.SetContentLength(-1)
	buf, refused := readBody(&req, io.LimitReader(zeros{}, 1<<40), nil, limit)
	if refused == nil || refused.status != 413 || cap(buf) > 2*limit+2 {
		t.Errorf("endless body: buffer of %d, %v", cap(buf), refused)
	}
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
