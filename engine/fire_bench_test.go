package engine

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkFire is what a delayed message takes from the wheel to the queue of its
// connection, with caches as sends leave them. A round is 8,000 messages, eight
// for each of a thousand connections out of 15,000.
func BenchmarkFire(b *testing.B) {
	const conns, active, each = 15_000, 1000, 8
	e := withoutSockets(2)
	e.began = time.Now().Add(-time.Hour) // all is due
	d := newDelayed(e)
	w := &writer{eng: e}
	tokens, all := make([]string, conns), make([]*Conn, conns)
	for i := range all {
		tokens[i] = fmt.Sprintf("user-%06d", i)
		all[i] = e.enterFull(i, tokens[i])
	}
	f := firing{delayed: d}
	others := make([]byte, 32<<20) // memory of the kernel's
	key := uint64(0)
	var spent time.Duration
	for b.Loop() {
		first := int(key) / each
		at := func(n int) int { return (first + n) * 13 % conns }
		d.mu.Lock()
		for n := range active * each {
			key++
			m := Delayed{
				Key: key, Created: e.began, Due: e.began, Stamp: 20,
				Tokens: tokens[at(n%active):][:1],
				Frame:  TextFrame(make([]byte, FrameHeadroom+208)),
			}
			d.insertNear(uint64(n/200), packedFrom(appendPacked(nil, &m)))
		}
		d.mu.Unlock()
		for fired := true; fired; {
			for i := 0; i < len(others); i += cacheLine {
				others[i]++
			}
			began := time.Now()
			fired, _ = f.fire()
			spent += time.Since(began)
		}
		for n := range active {
			c := all[at(n)]
			c.mu.Lock()
			if got := len(c.out.queue); got != each {
				b.Fatalf("a connection got %d messages of %d", got, each)
			}
			w.advance(c, c.out.queued)
			c.settle()
			c.mu.Unlock()
		}
		d.forgetAll()
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N)/(active*each), "ns/message")
	b.ReportMetric(0, "ns/op")
}
