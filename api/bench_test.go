package api

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gorelay/engine"

	"github.com/valyala/fasthttp"
)

// benchBodies are pushes by name: "plain" has the 128-byte text that is usual
// for comparisons of relays, the others are as dense with punctuation as JSON
// gets, of about 128 bytes, 4 KiB and 256 KiB.
func benchBodies() map[string][]byte {
	const head, tail = `{"event_name":"eventName","subject":`, `,"delay_seconds":0,"token":"USER_12345"}`
	bodies := map[string][]byte{"plain": []byte(head + `{"text":"` + strings.Repeat("x", 117) + `"}` + tail)}
	for name, size := range map[string]int{"dense-128": 128, "dense-4K": 4 << 10, "dense-256K": 256 << 10} {
		const item = `{"name":"a plain string of words","n":-12.5e3,"ok":true,"list":[1,22,333]},`
		bodies[name] = []byte(head + "[" + strings.Repeat(item, 1+size/len(item)) + "null]" + tail)
	}
	return bodies
}

func BenchmarkReadPush(b *testing.B) {
	for name, body := range benchBodies() {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, refused := readPush(body, testMaxDelay); refused != nil {
					b.Fatal(refused)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	for name, body := range benchBodies() {
		b.Run(name, func(b *testing.B) {
			p, refused := readPush(body, testMaxDelay)
			if refused != nil {
				b.Fatal(refused)
			}
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				encode(&p, minStamp)
			}
		})
	}
}

func BenchmarkPing(b *testing.B) {
	ping := []byte(`{"type":"ping","ts":1733890000000}`)
	var reply []byte
	b.ReportAllocs()
	for b.Loop() {
		m := readMessage(ping)
		reply = appendPong(reply[:0], m.value)
	}
}

// nowhere is a Pusher that delivers to nobody. What it does not define, no push
// needs.
type nowhere struct{ Pusher }

func (nowhere) NewKey() uint64                         { return 1 }
func (nowhere) Send(string, engine.Frame) (int, error) { return 0, nil }
func (nowhere) Broadcast(engine.Frame) (int, error)    { return 0, nil }

// benchServers are the server and, to compare with, the least that fasthttp
// can do with the same request.
func benchServers() (push, noop *fasthttp.Server) {
	o := DefaultOptions()
	o.APIKey = testKey
	noop = &fasthttp.Server{
		ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout, IdleTimeout: o.IdleTimeout,
		Handler: func(ctx *fasthttp.RequestCtx) {
			if len(ctx.PostBody()) == 0 {
				ctx.Error("empty", fasthttp.StatusBadRequest)
				return
			}
			ctx.SetContentType(contentType)
			ctx.SetBodyString(`{"code":0,"msg":"ok"}`)
		},
	}
	return NewServer(o, nowhere{}).http, noop
}

func benchRequest(body []byte) []byte {
	return fmt.Appendf(nil, "POST /api/push HTTP/1.1\r\nHost: localhost:3000\r\nUser-Agent: bench\r\n"+
		"Content-Type: application/json\r\nX-API-KEY: %s\r\nContent-Length: %d\r\n\r\n%s", testKey, len(body), body)
}

// BenchmarkServer is a whole request without the kernel: the bytes come from
// memory, one request a read, and the answer goes nowhere. It shows what the
// push adds to fasthttp in nanoseconds.
func BenchmarkServer(b *testing.B) {
	push, noop := benchServers()
	for name, body := range benchBodies() {
		request := benchRequest(body)
		for kind, server := range map[string]*fasthttp.Server{"push": push, "noop": noop} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				b.ReportAllocs()
				if err := server.ServeConn(&memoryConn{request: request, left: b.N}); err != nil && err != io.EOF {
					b.Fatal(err)
				}
			})
		}
	}
}

// memoryConn is a connection that sends the same request again and again.
type memoryConn struct {
	net.Conn
	request []byte
	sent    int // of the running request
	left    int // requests
}

func (c *memoryConn) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.request[c.sent:])
	if c.sent += n; c.sent == len(c.request) {
		c.sent = 0
		c.left--
	}
	return n, nil
}

func (c *memoryConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *memoryConn) Close() error                     { return nil }
func (c *memoryConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *memoryConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *memoryConn) SetDeadline(time.Time) error      { return nil }
func (c *memoryConn) SetReadDeadline(time.Time) error  { return nil }
func (c *memoryConn) SetWriteDeadline(time.Time) error { return nil }

// BenchmarkCPU compares the CPU time of this process, kernel work included,
// for a push and for a no-op, in turns. The publishers are another process.
func BenchmarkCPU(b *testing.B) {
	for _, name := range []string{"plain", "dense-128", "dense-4K"} {
		b.Run(name, func(b *testing.B) {
			request := benchRequest(benchBodies()[name])
			var used [2]time.Duration
			rounds := 0
			for b.Loop() {
				push, noop := benchServers()
				for i, server := range []*fasthttp.Server{push, noop} {
					used[i] += cpuOf(b, server, request)
				}
				rounds++
			}
			requests := float64(rounds * cpuRequests)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(used[0].Nanoseconds())/requests, "push-cpu-ns")
			b.ReportMetric(float64(used[1].Nanoseconds())/requests, "noop-cpu-ns")
			b.ReportMetric(float64(used[0])/float64(used[1]), "push/noop")
		})
	}
}

const (
	cpuRequests = 20_000
	cpuConns    = 8
	// The environment of a publisher process: the address to send to, and the
	// request, quoted.
	publishTo   = "API_BENCH_PUBLISH_TO"
	publishWhat = "API_BENCH_PUBLISH_WHAT"
)

// cpuOf returns the CPU time that server takes for cpuRequests requests.
func cpuOf(b *testing.B, server *fasthttp.Server, request []byte) time.Duration {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	runtime.GC()
	before := cpuTime(b)
	publish := exec.Command(os.Args[0], "-test.run=^TestPublishForBenchmark$")
	publish.Env = append(os.Environ(), publishTo+"="+ln.Addr().String(), publishWhat+"="+strconv.Quote(string(request)))
	if out, err := publish.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	used := cpuTime(b) - before
	ln.Close()
	if err := <-served; err != nil {
		b.Fatal(err)
	}
	return used
}

func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// TestPublishForBenchmark is the publisher process of BenchmarkCPU.
func TestPublishForBenchmark(t *testing.T) {
	addr := os.Getenv(publishTo)
	if addr == "" {
		t.Skip("only in a process that a benchmark starts")
	}
	request, err := strconv.Unquote(os.Getenv(publishWhat))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range cpuConns {
		wg.Go(func() {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			var resp fasthttp.Response
			r := bufio.NewReader(c)
			for range cpuRequests / cpuConns {
				if _, err := io.WriteString(c, request); err != nil {
					t.Error(err)
					return
				}
				if err := resp.Read(r); err != nil || resp.StatusCode() != 200 {
					t.Error(resp.StatusCode(), err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkAnswerInPlace is a push as an event loop answers it, delivered to
// nobody: with a head that is known, and with heads that take turns.
func BenchmarkAnswerInPlace(b *testing.B) {
	o := DefaultOptions()
	o.APIKey = testKey
	s := NewServer(o, nowhere{})
	request := benchRequest(benchBodies()["plain"])
	for name, requests := range map[string][][]byte{
		"known":   {request},
		"unknown": {request, []byte(strings.Replace(string(request), "User-Agent: bench", "User-Agent: other", 1))},
	} {
		b.Run(name, func(b *testing.B) {
			var answer []byte
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				_, out, v := s.answerInPlace(requests[i%len(requests)], answer[:0])
				if v != engine.Answered {
					b.Fatal(v)
				}
				answer = out
			}
		})
	}
}
