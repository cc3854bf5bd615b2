package engine

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"gorelay/store"
)

// What was due while there was no engine goes out first, in the order of the
// times, when the clients have had time to come back.
func TestMissedMessages(t *testing.T) {
	for _, policy := range []OnMissed{MissedSend, MissedDrop} {
		t.Run(fmt.Sprint(policy), func(t *testing.T) {
			d := serveDurable(t, func(o *Options) {
				o.OnMissed, o.MissedGrace, o.MissedRate = policy, 500*time.Millisecond, 100
			})
			const count = 30
			start := time.Now()
			for i := range count {
				d.at(start.Add(time.Duration(300-i)*time.Millisecond), fmt.Sprint(i), "a")
			}
			next := start.Add(2 * time.Second)
			d.at(next, "next", "a")
			d.down()
			time.Sleep(time.Until(start.Add(301 * time.Millisecond))) // the time that is missed
			d.start()
			c := d.dial("a")
			if policy == MissedSend {
				for i := count - 1; i >= 0; i-- {
					wantText(t, c, fmt.Sprint(i))
				}
			}
			wantText(t, c, "next")
			want := Stats{MissedSent: count}
			if policy == MissedDrop {
				want = Stats{MissedDropped: count}
			}
			if s := d.Stats(); s.MissedSent != want.MissedSent || s.MissedDropped != want.MissedDropped {
				t.Errorf("sent %d, dropped %d", s.MissedSent, s.MissedDropped)
			}
			_ = c.Close()
			d.change = nil
			d.restart()
			if s := d.Stats(); s.Delayed != 0 {
				t.Errorf("%d are there again", s.Delayed)
			}
		})
	}
}

// A stop does not wait for what was missed: it stays for the next start.
func TestStopWhileMissedMessagesAreSent(t *testing.T) {
	d := serveDurable(t, func(o *Options) { o.MissedRate = 1 })
	due := time.Now()
	for i := range 3 {
		d.at(due.Add(time.Minute), fmt.Sprint(i), "a")
	}
	d.down()
	d.backdate(due.Add(-time.Minute))
	d.start()
	await(t, "one went out", func() bool { return d.Stats().MissedSent == 1 })
	d.restart()
	if s := d.Stats(); s.Delayed+int(s.MissedSent) != 2 {
		t.Errorf("%d wait", s.Delayed)
	}
}

// A clock that was set by an hour while there was no relay: forth, and what
// waits is due; back, and it waits an hour longer. Nothing is lost.
func TestClockThatJumpsBetweenTwoRelays(t *testing.T) {
	d := serveDurable(t, nil)
	due := time.Now().Add(time.Minute)
	key := d.at(due, "kept", "a")
	d.down()
	d.backdate(due.Add(time.Hour))
	d.start()
	if m, err := d.Waiting(key); err != nil || m.Due.UnixMilli() != due.Add(time.Hour).UnixMilli() {
		t.Errorf("after a jump back: %+v, %v", m, err)
	}
	d.down()
	d.backdate(due.Add(-time.Hour))
	d.change = func(o *Options) { o.MissedGrace = 300 * time.Millisecond }
	d.start()
	wantText(t, d.dial("a"), "kept")
	if n := d.Stats().MissedSent; n != 1 {
		t.Errorf("after a jump forth %d were sent as missed", n)
	}
}

// backdate makes all that is stored due at a time.
func (d *durable) backdate(due time.Time) {
	d.t.Helper()
	vault, err := store.Open(d.dir, store.Options{})
	if err != nil {
		d.t.Fatal(err)
	}
	var keys []uint64
	var bodies [][]byte
	err = vault.Each(func(key uint64, body []byte) error {
		keys, bodies = append(keys, key), append(bodies, slices.Clone(body))
		for i := range 8 {
			bodies[len(bodies)-1][8+i] = byte(due.UnixMilli() >> (56 - 8*i))
		}
		return nil
	})
	if err == nil {
		err = vault.Add(keys, bodies, nil)
	}
	if err := errors.Join(err, vault.Close()); err != nil {
		d.t.Fatal(err)
	}
}
