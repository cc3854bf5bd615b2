package test

import (
	"fmt"
	"testing"
	"time"

	"gorelay/internal/relaytest"
)

func TestDelayedPush(t *testing.T) {
	t.Parallel()
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	stays := r.Dial(t, "/ws?token=a")
	leaves := r.Dial(t, "/ws?token=a")
	bare := r.Dial(t, "/ws")
	settle(t, stays)
	settle(t, leaves)
	settle(t, bare)

	sent := time.Now()
	push(t, p, `{"event_name":"later","subject":{"n":1.50},"delay_seconds":1,"token":"a"}`)
	push(t, p, `{"event_name":"later-all","subject":2,"delay_seconds":2}`)
	push(t, p, `{"event_name":"now","subject":3}`)
	// Who gets it is decided when it fires: one moves away, one comes.
	identify2 := r.Dial(t, "/ws")
	wantEvent(t, stays, "now")
	wantEvent(t, leaves, "now")
	wantEvent(t, bare, "now")
	identify(t, leaves, `"b"`)
	identify(t, identify2, `"a"`)

	for _, c := range []eventSource{{t, stays}, {t, identify2}} {
		e := c.want("later")
		arrived := time.Now()
		if early := arrived.Sub(sent); early < time.Second {
			t.Errorf("a delay of 1 s fired after %v", early)
		}
		if e.Data.TS < sent.Add(time.Second).UnixMilli() || e.Data.TS > arrived.UnixMilli() {
			t.Errorf("ts %d is not when it fired: sent %d, arrived %d", e.Data.TS, sent.UnixMilli(), arrived.UnixMilli())
		}
		if string(e.Data.Subject) != `{"n":1.50}` || string(e.Data.Token) != `"a"` {
			t.Errorf("subject %s, token %s", e.Data.Subject, e.Data.Token)
		}
	}
	for _, c := range []eventSource{{t, stays}, {t, leaves}, {t, bare}, {t, identify2}} {
		e := c.want("later-all")
		if e.Data.TS < sent.Add(2*time.Second).UnixMilli() {
			t.Errorf("ts %d, sent %d with a delay of 2 s", e.Data.TS, sent.UnixMilli())
		}
	}
}

// TestDelayedOrder: delayed pushes of one publisher fire in the order in which
// they were sent, also those that fall due in the same moment.
func TestDelayedOrder(t *testing.T) {
	t.Parallel()
	const pushes = 400
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	c := r.Dial(t, "/ws?token=a")
	settle(t, c)
	for n := range pushes {
		token := `null`
		if n%3 == 0 {
			token = `"a"`
		}
		push(t, p, fmt.Sprintf(`{"event_name":"n%d","subject":1,"delay_seconds":1,"token":%s}`, n, token))
	}
	var last int64
	for n := range pushes {
		e := wantEvent(t, c, fmt.Sprintf("n%d", n))
		if e.Data.TS < last {
			t.Fatalf("ts went back from %d to %d", last, e.Data.TS)
		}
		last = e.Data.TS
	}
}

// TestDelayLimits: what exceeds a limit is refused with a reason, not kept.
func TestDelayLimits(t *testing.T) {
	t.Parallel()
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"max_delayed": 2, "max_delay": "1h"}})
	p := r.Publisher(t)
	wantRefusal(t, post(t, p, `{"event_name":"e","subject":1,"delay_seconds":3601}`), 400)
	for range 2 {
		push(t, p, `{"event_name":"e","subject":1,"delay_seconds":3600}`)
	}
	answer := post(t, p, `{"event_name":"e","subject":1,"delay_seconds":3600}`)
	wantRefusal(t, answer, 503)
	wantRetryAfter(t, answer)
	push(t, p, `{"event_name":"now","subject":1,"delay_seconds":0}`)
	push(t, p, `{"event_name":"past","subject":1,"delay_seconds":-1}`)
}
