package api

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// BenchmarkBatch compares one request with a hundred small pushes to a hundred
// requests with one, over loopback, on a real engine, to tokens that nobody has
// open: what is left is the cost of being asked. Publishers and relay share the
// process, so the CPU time is that of both.
func BenchmarkBatch(b *testing.B) {
	const size = 100
	e, _ := startEngine(b, DefaultOptions())
	s := NewServer(DefaultOptions(), e)
	served := make(chan error, 1)
	go func() { served <- s.Serve(e.HTTP()) }()
	c, err := net.Dial("tcp", e.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	var items []string
	var singles [][]byte
	for i := range size {
		item := fmt.Sprintf(`{"event_name":"eventName","subject":{"any":"payload"},"token":"USER_%d"}`, i)
		items = append(items, item)
		singles = append(singles, benchPost("", item))
	}
	batch := benchPost("/batch", pushes(items...))
	var resp fasthttp.Response
	in := bufio.NewReader(c)
	ask := func(request []byte) {
		if _, err := c.Write(request); err != nil {
			b.Fatal(err)
		}
		if err := resp.Read(in); err != nil || resp.StatusCode() != fasthttp.StatusOK {
			b.Fatal(resp.StatusCode(), err)
		}
	}
	var wall, cpu [2]time.Duration
	measure := func(i int, f func()) {
		began, before := time.Now(), cpuTime(b)
		f()
		wall[i] += time.Since(began)
		cpu[i] += cpuTime(b) - before
	}
	const turns = 100 // of each, so that the clock of the CPU is fine enough
	rounds := 0
	for b.Loop() {
		measure(0, func() {
			for range turns {
				ask(batch)
			}
		})
		measure(1, func() {
			for range turns {
				for _, single := range singles {
					ask(single)
				}
			}
		})
		rounds += turns
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(cpu[0].Microseconds())/float64(rounds), "batch-cpu-µs")
	b.ReportMetric(float64(cpu[1].Microseconds())/float64(rounds), "singles-cpu-µs")
	b.ReportMetric(float64(cpu[0])/float64(cpu[1]), "cpu-ratio")
	b.ReportMetric(float64(wall[0])/float64(wall[1]), "time-ratio")
	c.Close()
	if err := s.Shutdown(b.Context()); err != nil {
		b.Error(err)
	}
	if err := <-served; err != nil && err != io.EOF {
		b.Error(err)
	}
}

// benchPost is a request with the default key.
func benchPost(below, body string) []byte {
	return fmt.Appendf(nil, "POST /api/push%s HTTP/1.1\r\nHost: localhost:3000\r\nUser-Agent: bench\r\n"+
		"Content-Type: application/json\r\nX-API-KEY: %s\r\nContent-Length: %d\r\n\r\n%s", below, DefaultOptions().APIKey, len(body), body)
}
