package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gorelay/internal/relaytest"
)

// atOnce makes a relay send what it missed as soon as it has started.
func atOnce() relaytest.Config { return relaytest.Config{"missed_grace": "0"} }

// ends are the two ways in which a relay ends before it is started again.
var ends = map[string]func(*testing.T, *relaytest.Relay){
	"stop": func(t *testing.T, r *relaytest.Relay) {
		if code := r.Stop(); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
	},
	"crash": func(_ *testing.T, r *relaytest.Relay) { r.Kill() },
}

// TestRestart: what waits is there after a start as it was before, and fires;
// what has fired or was taken back does not.
func TestRestart(t *testing.T) {
	t.Parallel()
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := relaytest.StartRelay(t, relaytest.Setup{})
			p := r.Publisher(t)
			before := r.Dial(t, "/ws?token=a")
			settle(t, before)
			fired := pushed(t, p, body("fired", toToken("a"), inSeconds(1)))
			wantEvent(t, before, "fired")
			cancelled := pushed(t, p, body("cancelled", toToken("a"), inSeconds(2)))
			wantData(t, call(t, p, "DELETE", relaytest.PushPath+"/"+cancelled, ""))
			due := time.Now().Add(4 * time.Second)
			var given []string
			for n, members := range [][]string{
				{`"token":{"id":"a","x":1.50}`}, {`"tokens":["b","a"]`}, {`"x":1`}, {toToken("a"), `"include_id":true`},
			} {
				given = append(given, pushed(t, p, fmt.Sprintf(`{"event_name":"n%d","subject":{"u":"\u00fc","n":1.50},%s}`, n, strings.Join(append(members, at(due)), ","))))
			}
			for range 20 {
				given = append(given, pushed(t, p, body("hour", inSeconds(anHour))))
			}
			shown := list(t, p, "", 0)
			end(t, r)

			r = restart(t, r, nil)
			p = r.Publisher(t)
			after := r.Dial(t, "/ws?token=a")
			settle(t, after)
			got := list(t, p, "", 7)
			again := name == "crash" && slices.Contains(ids(got), fired) // it fired right before
			got = slices.DeleteFunc(got, func(s scheduled) bool { return again && s.ID == fired })
			if fmt.Sprint(values(got)) != fmt.Sprint(values(shown)) {
				t.Errorf("after the start:\n%+v\nbefore:\n%+v", values(got), values(shown))
			}
			if id := pushed(t, p, body("id", toToken("nobody"))); id <= given[len(given)-1] {
				t.Errorf("the id %s after the start is not behind %s", id, given[len(given)-1])
			}
			if again {
				wantEvent(t, after, "fired")
			}
			for n, token := range []string{`{"id":"a","x":1.50}`, `null`, `null`, `"a"`} {
				e, raw := readEnvelope(t, after)
				want := fmt.Sprintf(`{"event":"n%d","data":{"subject":{"u":"\u00fc","n":1.50},"ts":%d,"token":%s`, n, e.Data.TS, token)
				if n == 3 {
					want += `,"id":"` + given[3] + `"`
				}
				if want += `}}`; raw != want {
					t.Errorf("got %s\nwant %s", raw, want)
				}
				if e.Data.TS < due.UnixMilli() {
					t.Errorf("due at %d, fired at %d", due.UnixMilli(), e.Data.TS)
				}
			}
			wantData(t, call(t, p, "DELETE", relaytest.PushPath+"/"+given[4], ""))
			wantRefusal(t, call(t, p, "DELETE", relaytest.PushPath+"/"+given[0], ""), 409)
			push(t, p, body("last", toToken("a")))
			wantEvent(t, after, "last")
		})
	}
}

// values are the members of a list without its pointers.
func values(list []scheduled) []string {
	var all []string
	for _, s := range list {
		all = append(all, fmt.Sprint(s.ID, s.DeliverAt, s.CreatedAt, *s.Broadcast, *s.Target, s.Tokens))
	}
	return all
}

// missing pushes n messages that fall due while the relay is down, in a jumble
// of three moments, ends it, and returns the events in due order.
func missing(t *testing.T, r *relaytest.Relay, n int, end func(*testing.T, *relaytest.Relay)) []string {
	t.Helper()
	p := r.Publisher(t)
	// Far enough ahead that all of them are in before the first is due.
	base := time.Now().Add(2 * time.Second)
	moments := [3][]string{}
	var items []string
	for i := range n {
		m := i * 7 % 3
		event := fmt.Sprintf("n%d", i)
		items = append(items, body(event, []string{toToken("a"), `"tokens":["x","a"]`, `"x":1`}[i%3], at(base.Add(time.Duration(m)*time.Millisecond))))
		moments[m] = append(moments[m], event)
	}
	d := wantData(t, call(t, p, "POST", batchPath, `{"items":[`+strings.Join(items, ",")+`]}`))
	wantMember(t, d, "accepted", fmt.Sprint(n))
	end(t, r)
	late := base.Add(3 * time.Millisecond)
	if time.Now().After(base) {
		t.Fatal("this machine is too slow: pushes fell due before the relay ended")
	}
	eventually(t, "the moments", func() bool { return time.Now().After(late) })
	return slices.Concat(moments[:]...)
}

// TestMissedSend: what fell due while the relay was down goes out after the
// start, in due order, before all that comes later.
func TestMissedSend(t *testing.T) {
	t.Parallel()
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := relaytest.StartRelay(t, relaytest.Setup{})
			want := missing(t, r, 90, end)
			r = restart(t, r, relaytest.Config{"missed_grace": "2s"})
			c := r.Dial(t, "/ws?token=a")
			settle(t, c)
			p := r.Publisher(t)
			if waiting := list(t, p, "", 0); len(waiting) != len(want) {
				t.Errorf("%d of %d wait for the grace to pass", len(waiting), len(want))
			}
			pushed(t, p, body("behind them", toToken("a"), inSeconds(1)))
			push(t, p, body("now", toToken("a"))) // does not wait for them
			wantEvent(t, c, "now")
			for _, event := range want {
				wantEvent(t, c, event)
			}
			wantEvent(t, c, "behind them")
			if waiting := list(t, p, "", 0); len(waiting) != 0 {
				t.Errorf("%d wait after all have fired", len(waiting))
			}
		})
	}
}

// TestMissedRate: missed pushes go out no faster than asked.
func TestMissedRate(t *testing.T) {
	t.Parallel()
	const rate = 50
	r := relaytest.StartRelay(t, relaytest.Setup{})
	want := missing(t, r, 120, ends["crash"])
	r = restart(t, r, relaytest.Config{"missed_grace": "1s", "missed_rate": rate})
	c := r.Dial(t, "/ws?token=a")
	settle(t, c)
	var first, last int64
	for n, event := range want {
		e := wantEvent(t, c, event)
		if n == 0 {
			first = e.Data.TS
		}
		last = e.Data.TS
	}
	// A tenth of a second's worth may come at once.
	if least := int64(len(want)-rate/10) * 1000 / rate; last-first < least {
		t.Errorf("%d missed pushes went out in %d ms, at %d a second they take %d", len(want), last-first, rate, least)
	}
}

// TestMissedDrop: on demand they are dropped, and the log says how many.
func TestMissedDrop(t *testing.T) {
	t.Parallel()
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	kept := pushed(t, p, body("kept", toToken("a"), inSeconds(anHour)))
	want := missing(t, r, 37, ends["crash"])
	r = restart(t, r, relaytest.Config{"on_missed": "drop", "missed_grace": "0"})
	c := r.Dial(t, "/ws?token=a")
	settle(t, c)
	p = r.Publisher(t)
	if got := ids(list(t, p, "", 0)); !slices.Equal(got, []string{kept}) {
		t.Errorf("waiting: %v, want %v", got, kept)
	}
	pushed(t, p, body("marker", toToken("a"), inSeconds(1)))
	wantEvent(t, c, "marker") // and none of those before
	if code := r.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(r.Log(), fmt.Sprint(len(want))) {
		t.Errorf("the log does not say that %d were dropped:\n%s", len(want), r.Log())
	}
	// They are gone for good.
	r = restart(t, r, atOnce())
	if got := ids(list(t, r.Publisher(t), "", 0)); !slices.Equal(got, []string{kept}) {
		t.Errorf("waiting after another start: %v, want %v", got, kept)
	}
}

// TestMemoryOnly: without a folder nothing is written, and the start says so.
func TestMemoryOnly(t *testing.T) {
	t.Parallel()
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"data_dir": ""}})
	if !strings.Contains(r.Log(), "memory") {
		t.Errorf("the log does not say that delayed pushes are in memory alone:\n%s", r.Log())
	}
	p := r.Publisher(t)
	c := r.Dial(t, "/ws?token=a")
	settle(t, c)
	id := pushed(t, p, body("hour", toToken("a"), inSeconds(anHour)), key("memory"))
	taken := pushed(t, p, body("cancelled", toToken("a"), inSeconds(1)))
	wantData(t, call(t, p, "GET", relaytest.PushPath+"/"+id, ""))
	wantData(t, call(t, p, "DELETE", relaytest.PushPath+"/"+taken, ""))
	wantRefusal(t, call(t, p, "DELETE", relaytest.PushPath+"/"+taken, ""), 404)
	if got := ids(list(t, p, "a", 0)); !slices.Equal(got, []string{id}) {
		t.Errorf("waiting: %v", got)
	}
	pushed(t, p, body("second", toToken("a"), inSeconds(1)))
	wantEvent(t, c, "second")
	if files := filesBut(t, r.Dir, "config.json"); len(files) != 0 {
		t.Errorf("it wrote %v", files)
	}
	r.Kill()
	r = restart(t, r, relaytest.Config{"data_dir": ""})
	p = r.Publisher(t)
	if waiting := list(t, p, "", 0); len(waiting) != 0 {
		t.Errorf("%d pushes wait after a crash", len(waiting))
	}
	wantRefusal(t, call(t, p, "DELETE", relaytest.PushPath+"/"+id, ""), 404) // given out by another secret
}
