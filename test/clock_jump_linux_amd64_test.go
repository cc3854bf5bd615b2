package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gorelay/internal/relaytest"
)

// jumps are what a wall clock is set by.
var jumps = map[string]time.Duration{"forth": time.Hour, "back": -time.Hour}

// jumper is a relay whose wall clock is set, and an account of what it accepted.
type jumper struct {
	t     *testing.T
	p     *relaytest.Publisher
	ahead time.Duration // of its clock
	last  string        // the newest id
	late  time.Duration // that a push may go out after its time, beside what a slow machine takes
	due   map[string]duePush
}

// duePush is a delayed push.
type duePush struct {
	id   string
	at   int64 // when it is due, by the machine's clock
	told int64 // deliver_at, by the relay's
}

// now is the relay's time.
func (j *jumper) now() time.Time { return time.Now().Add(j.ahead) }

// push sends a delayed push and enters it; ids go up whatever the clock does.
func (j *jumper) push(event string, members ...string) duePush {
	j.t.Helper()
	d := wantData(j.t, call(j.t, j.p, "POST", relaytest.PushPath, body(event, members...), key(strings.ReplaceAll(event, " ", "-"))))
	told := get[int64](j.t, d, "deliver_at")
	e := duePush{get[string](j.t, d, "id"), told - j.ahead.Milliseconds(), told}
	if e.id <= j.last {
		j.t.Errorf("id %s is not behind %s", e.id, j.last)
	}
	j.last, j.due[event] = e.id, e
	return e
}

// pushMany sends pushes that reach the token a, some for the same moment.
func (j *jumper) pushMany(name string, base time.Time) {
	j.t.Helper()
	for n := range 30 {
		to := []string{toToken("a"), `"tokens":["b","a"]`, `"x":1`, `"tokens":["a"]`}[n%4]
		j.push(fmt.Sprintf("%s%d", name, n), to, at(base.Add(time.Duration(n*7%5)*100*time.Millisecond)))
	}
}

// wantNow pushes at once and wants the relay's own time on the message: that is
// how a jump shows.
func (j *jumper) wantNow(c eventSource, event string) {
	j.t.Helper()
	before := j.now().UnixMilli()
	push(j.t, j.p, body(event, toToken("a")))
	e := c.want(event)
	if after := j.now().UnixMilli(); e.Data.TS < before || e.Data.TS > after {
		j.t.Errorf("%s: sent at %d by the relay's clock, that was between %d and %d", event, e.Data.TS, before, after)
	}
}

// wantAll reads those of the account that are not among later: each once, none
// early, in their order.
func (j *jumper) wantAll(c eventSource, later ...string) {
	j.t.Helper()
	left := map[string]duePush{}
	for event, d := range j.due {
		if !slices.Contains(later, event) {
			left[event] = d
		}
	}
	var latest int64
	newest := map[int64]envelope{} // by due
	for len(left) > 0 {
		got, raw := readEnvelope(c.t, c.c)
		d, ok := left[got.Event]
		if !ok {
			j.t.Fatalf("%s was not due, or came twice", raw)
		}
		delete(left, got.Event)
		if sent := got.Data.TS - j.ahead.Milliseconds(); sent < d.at || sent > d.at+(relaytest.Patience+j.late).Milliseconds() {
			j.t.Errorf("%s was due at %d and was sent at %d", got.Event, d.at, sent)
		}
		// Moments that were asked for in two ways, seconds and a time, may be
		// a little apart.
		const apart = 20
		if latest = max(latest, d.at); d.at < latest-apart {
			j.t.Errorf("%s, due at %d, came behind what was due at %d", got.Event, d.at, latest)
		}
		if before := newest[d.at]; d.id < j.due[before.Event].id {
			j.t.Errorf("%s, sent at %d, came behind %s, sent at %d, due in the same millisecond", got.Event, got.Data.TS, before.Event, before.Data.TS)
		}
		newest[d.at] = got
	}
}

// wantShown wants these pushes as they were answered, by id and in the list,
// where they stand in the order in which they will go out.
func (j *jumper) wantShown(events ...string) {
	j.t.Helper()
	slices.SortFunc(events, func(a, b string) int { return int(j.due[a].at - j.due[b].at) })
	var want []string
	for _, event := range events {
		d := j.due[event]
		want = append(want, d.id)
		shown := wantData(j.t, call(j.t, j.p, "GET", relaytest.PushPath+"/"+d.id, ""))
		wantMember(j.t, shown, "deliver_at", fmt.Sprint(d.told))
		wantMember(j.t, shown, "status", `"scheduled"`)
	}
	for _, limit := range []int{0, 1} {
		listed := slices.DeleteFunc(list(j.t, j.p, "", limit), func(s scheduled) bool { return !slices.Contains(want, s.ID) })
		if !slices.Equal(ids(listed), want) {
			j.t.Errorf("listed %v, want %v, which are %v", ids(listed), want, events)
		}
		for i, s := range listed {
			if told := j.due[events[i]].told; s.DeliverAt != told {
				j.t.Errorf("%s is listed for %d, want %d", events[i], s.DeliverAt, told)
			}
		}
	}
}

// TestClockJumpsUnderARunningRelay: a wall clock that is set moves nothing that
// waits, and what comes afterwards goes by the new time.
func TestClockJumpsUnderARunningRelay(t *testing.T) {
	t.Parallel()
	const window = 5 * time.Second
	for name, by := range jumps {
		for kind, config := range map[string]relaytest.Config{"disk": {}, "memory": {"data_dir": ""}} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				config["idempotency_window"] = window.String()
				r := relaytest.StartRelay(t, relaytest.Setup{Config: config})
				clock := takeClock(t, r)
				j := &jumper{t: t, p: r.Publisher(t), due: map[string]duePush{}}
				c := eventSource{t, r.Dial(t, "/ws?token=a")}
				settle(t, c.c)
				j.wantNow(c, "before")
				base := time.Now().Add(3 * time.Second)
				j.push("half", toToken("a"), at(time.Now().Add(30*time.Minute)))
				j.push("hour", toToken("a"), inSeconds(anHour))
				j.push("second", toToken("a"), inSeconds(2))
				j.pushMany("before", base)
				kept, keptAt := body("kept", toToken("nobody")), time.Now()
				first := call(t, j.p, "POST", relaytest.PushPath, kept, key("kept"))
				wantData(t, first)

				clock.set(t, by)
				j.ahead = by
				j.wantNow(c, "after")
				again := call(t, j.p, "POST", relaytest.PushPath, kept, key("kept"))
				if time.Since(keptAt) < window {
					wantReplay(t, first, again)
				}
				later := []string{"half", "hour", "hour after"}
				j.push("hour after", toToken("a"), inSeconds(anHour))
				j.push("second after", toToken("a"), inSeconds(1))
				j.pushMany("after", base.Add(by+50*time.Millisecond))
				// A moment that is named goes by the clock as it is now.
				if by > 0 {
					d := push(t, j.p, body("named", toToken("nobody"), at(base)))
					wantMember(t, d, "matched", "0")
				} else {
					j.push("named", toToken("a"), at(base))
					later = append(later, "named")
				}
				j.wantShown(later...)
				j.wantAll(c, later...)
				j.wantShown(later...)
				eventually(t, "the key is forgotten", func() bool {
					return !replayed(t, call(t, j.p, "POST", relaytest.PushPath, kept, key("kept")))
				})

				clock.set(t, 0)
				j.ahead = 0
				j.wantNow(c, "at the end") // and nothing twice before
				for _, event := range later {
					wantData(t, call(t, j.p, "DELETE", relaytest.PushPath+"/"+j.due[event].id, ""))
				}
			})
		}
	}
}

// TestClockJumpsAndTheRelayIsKilled: after the start the wall clock decides. Here
// it is the machine's again, which is as far from that of the relay before. All
// is there as it was answered; what should have gone out by now goes first.
func TestClockJumpsAndTheRelayIsKilled(t *testing.T) {
	t.Parallel()
	for name, by := range jumps {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := relaytest.StartRelay(t, relaytest.Setup{})
			clock := takeClock(t, r)
			j := &jumper{t: t, p: r.Publisher(t), due: map[string]duePush{}}
			base := time.Now().Add(8 * time.Second)
			j.pushMany("before", base)
			clock.set(t, by)
			j.ahead = by
			j.pushMany("after", base.Add(by))
			key, again := key("after0"), body("after0", toToken("a"), at(base.Add(by)))
			first := call(t, j.p, "POST", relaytest.PushPath, again, key)
			if !replayed(t, first) {
				t.Errorf("not remembered: %s", first.Body)
			}
			r.Kill()

			r = restart(t, r, relaytest.Config{"missed_grace": "2s"})
			j.p, j.ahead, j.last = r.Publisher(t), 0, ""
			c := eventSource{t, r.Dial(t, "/ws?token=a")}
			settle(t, c.c)
			var all, after []string
			for event, d := range j.due {
				d.at = d.told // by the clock of now
				if strings.HasPrefix(event, "after") {
					after = append(after, event)
				}
				j.due[event] = d
				all = append(all, event)
			}
			if got := list(t, j.p, "", 7); len(got) != len(all) || !slices.IsSortedFunc(got, func(a, b scheduled) int { return int(a.DeliverAt - b.DeliverAt) }) {
				t.Errorf("%d of %d wait, in the order %v", len(got), len(all), values(got))
			}
			if by < 0 {
				after, j.late = nil, -by // it is late by as much
			} else {
				wantReplay(t, first, call(t, j.p, "POST", relaytest.PushPath, again, key))
			}
			j.wantAll(c, after...)
			for _, event := range after {
				wantData(t, call(t, j.p, "DELETE", relaytest.PushPath+"/"+j.due[event].id, ""))
			}
			j.wantNow(c, "at the end") // and nothing twice before
		})
	}
}
