package test

import (
	"fmt"
	"strings"
	"testing"

	"gorelay/internal/relaytest"
	"gorelay/internal/wsclient"
)

// stall opens a connection that reads nothing and takes little.
func stall(t *testing.T, r *relaytest.Relay, token string) *wsclient.Conn {
	t.Helper()
	c, err := wsclient.Dialer{Addr: r.Addr, ReadBuffer: 4 << 10, Timeout: relaytest.Patience}.Dial("/ws?token=" + token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestTotalIsBounded sends more to clients that do not read than the relay may
// hold for all of them. It refuses pushes, or closes the worst of them; either
// way its memory stays bounded, and a client that reads gets all that was
// accepted for it.
func TestTotalIsBounded(t *testing.T) {
	const stalled, size, total, pushes = 16, 256 << 10, 8 << 20, 150
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{
		"max_pending_bytes": 32 << 20, "max_total_pending_bytes": total, "write_timeout": "2s",
	}})
	p := r.Publisher(t)
	before := idleDescriptors(t, r)
	memory := r.RSS()
	reader := r.Dial(t, "/ws?token=reader")
	settle(t, reader)
	for i := range stalled {
		stall(t, r, fmt.Sprintf("stalled-%d", i))
	}
	var peak int64
	refused := 0
	for n := range pushes {
		// Each big push is a frame of its own: nothing is shared.
		for _, body := range []string{
			fmt.Sprintf(`{"event_name":"big","subject":%s,"token":"stalled-%d"}`, quote(repeat("b", size)), n%stalled),
			fmt.Sprintf(`{"event_name":"small/%d","subject":1,"token":"reader"}`, n),
		} {
			switch answer := post(t, p, body); answer.Status {
			case 200:
				if strings.Contains(body, "reader") {
					wantEvent(t, reader, fmt.Sprintf("small/%d", n))
				}
			case 503:
				wantRefusal(t, answer, 503)
				wantRetryAfter(t, answer)
				refused++
			default:
				t.Fatalf("status %d", answer.Status)
			}
		}
		peak = max(peak, r.RSS())
	}
	if grown := peak - memory; grown > rssSlack()+total {
		t.Errorf("memory grew by %d MiB, and %d pushes were refused", grown>>20, refused)
	}
	p.Close()
	r.WaitDescriptors(before + 1) // the reader: the others are closed in time
	wantHealthy(t, r)
}

// TestWriteStall: a client that takes no byte for write_timeout is closed even
// though little waits for it.
func TestWriteStall(t *testing.T) {
	t.Parallel()
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"write_timeout": "1s", "max_pending_bytes": 128 << 20}})
	r.Secret("stalled-token")
	p := r.Publisher(t)
	before := idleDescriptors(t, r)
	c := stall(t, r, "stalled-token")
	for range 64 { // more than the kernel takes for a socket
		push(t, p, `{"event_name":"big","subject":`+quote(repeat("b", 512<<10))+`,"token":"stalled-token"}`)
	}
	p.Close()
	r.WaitDescriptors(before)
	if err := c.Discard(); err != nil {
		t.Error(err)
	}
}

// TestLargestPush: with the default limits the largest push reaches a client
// that reads.
func TestLargestPush(t *testing.T) {
	const limit = 1 << 20
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	c := r.Dial(t, "/ws?token=a")
	settle(t, c)
	const head, tail = `{"event_name":"e","token":"a","subject":"`, `"}`
	fill := repeat("f", limit-len(head)-len(tail))
	for range 3 {
		push(t, p, head+fill+tail)
		e := wantEvent(t, c, "e")
		if string(e.Data.Subject) != `"`+fill+`"` {
			t.Fatalf("a subject of %d bytes came as %d", len(fill)+2, len(e.Data.Subject))
		}
	}
}
