package api

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"gorelay/engine"
	"gorelay/internal/wsclient"
)

// BenchmarkPushToQueue is a push from its body to the queue of the connection
// that gets it, on a real engine whose worker sends meanwhile.
func BenchmarkPushToQueue(b *testing.B) {
	o := engine.DefaultOptions()
	o.Addr, o.MaxPendingBytes = "127.0.0.1:0", 1<<30
	e, err := engine.Listen(o, NewClients(DefaultOptions()))
	if err != nil {
		b.Fatal(err)
	}
	if err := e.Start(); err != nil {
		b.Fatal(err)
	}
	c, err := net.Dial("tcp", e.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	if _, err := c.Write(wsclient.Handshake("/ws?token=USER_12345", "x")); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, len("HTTP/1.1 101"))); err != nil { // it is in its shard
		b.Fatal(err)
	}
	read := make(chan struct{})
	go func() { // until the engine closes the connection
		defer close(read)
		_, _ = io.Copy(io.Discard, c)
	}()
	s := NewServer(DefaultOptions(), e)
	var t texts
	body := benchBodies()["plain"]
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		p, refused := readPush(body, testMaxDelay)
		if refused != nil {
			b.Fatal(refused)
		}
		now := time.Now()
		if refused := p.settle(now, &s.opts); refused != nil {
			b.Fatal(refused)
		}
		if err := s.accept(&t, &p, now, nil); err != nil {
			b.Fatal(err)
		}
	}
	if !bytes.Contains(t.answer, []byte(`"matched":1}`)) {
		b.Fatalf("the last answer is %s", t.answer)
	}
	if err := e.Shutdown(context.Background()); err != nil {
		b.Error(err)
	}
	<-read
	c.Close()
}
