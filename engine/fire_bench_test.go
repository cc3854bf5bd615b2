package engine

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkFire is what a delayed message costs from the wheel to the queue of its
// connection, which takes eight before it is emptied: 15,000 connections, of which
// a thousand get messages at a time.
func BenchmarkFire(b *testing.B) {
	const conns, active, each = 15_000, 1000, 8
	e := withoutSockets(2)
	e.began = time.Now().Add(-time.Hour)
	d := newDelayed(e)
	w := &writer{eng: e}
	var tokens []string
	var all []*Conn
	for i := range conns {
		tokens = append(tokens, fmt.Sprintf("user-%06d", i))
		all = append(all, e.enterFull(i*7919%conns, tokens[i]))
	}
	f := firing{delayed: d}
	text := make([]byte, FrameHeadroom+208)
	for i := range text {
		text[i] = 'x'
	}
	key, next := uint64(0), 0
	kernel := make([]byte, 32<<20) // what sends would have put into the caches meanwhile
	var spent time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	for left := b.N; left > 0; left -= active * each {
		b.StopTimer()
		d.mu.Lock()
		for n := range active * each {
			key++
			m := Delayed{Key: key, Created: e.began, Due: e.began, Tokens: tokens[(next+n%active*13)%conns:][:1], Frame: Frame{wire: encodeInPlace(append([]byte(nil), text...), 1)}, Stamp: 20}
			d.insertNear(uint64(n/200), packedFrom(appendPacked(nil, &m)))
		}
		d.mu.Unlock()
		b.StartTimer()
		for fired := true; fired; {
			for i := 0; i < len(kernel); i += cacheLine {
				kernel[i]++
			}
			began := time.Now()
			var ok bool
			if fired, ok = f.fire(); !ok {
				b.Fatal("stopped")
			}
			spent += time.Since(began)
		}
		b.StopTimer()
		for i := range active {
			c := all[(next+i*13)%conns]
			c.mu.Lock()
			w.advance(c, c.out.queued)
			c.settle()
			c.mu.Unlock()
		}
		d.forgetAll()
		next = (next + active*13) % conns
		b.StartTimer()
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N), "ns/message")
}
