package engine

import (
	"encoding/binary"
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
			due := time.Now().Add(time.Hour)
			for i := range count {
				d.at(due.Add(-time.Duration(i)*time.Millisecond), fmt.Sprint(i), "a")
			}
			d.down()
			d.shift(-2 * time.Hour)
			d.start()
			c := d.dial("a")
			d.at(time.Now(), "next", "a") // it waits behind them
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
	for i := range 3 {
		d.at(time.Now().Add(time.Hour), fmt.Sprint(i), "a")
	}
	d.down()
	d.shift(-2 * time.Hour)
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
	due := time.Now().Add(time.Minute).Truncate(time.Millisecond)
	key := d.at(due, "kept", "a")
	d.down()
	d.shift(time.Hour)
	d.start()
	if m, err := d.Waiting(key); err != nil || m.Due.UnixMilli() != due.Add(time.Hour).UnixMilli() {
		t.Errorf("after a jump back: %+v, %v", m, err)
	}
	d.down()
	d.shift(-2 * time.Hour)
	d.change = func(o *Options) { o.MissedGrace = 300 * time.Millisecond }
	d.start()
	wantText(t, d.dial("a"), "kept")
	if n := d.Stats().MissedSent; n != 1 {
		t.Errorf("after a jump forth %d were sent as missed", n)
	}
}

// shift moves the times of all that is stored, as seen from a clock that was
// set. The engine is down.
func (d *durable) shift(by time.Duration) {
	d.t.Helper()
	vault, err := store.Open(d.dir, store.Options{})
	if err != nil {
		d.t.Fatal(err)
	}
	var keys []uint64
	var bodies [][]byte
	err = vault.Each(func(key uint64, body []byte) error {
		body = slices.Clone(body)
		due := packed(body).due() + by.Milliseconds()
		binary.BigEndian.PutUint64(body[8:], uint64(due))
		keys, bodies = append(keys, key), append(bodies, body)
		return nil
	})
	if err == nil {
		err = vault.Add(keys, bodies, nil)
	}
	if err := errors.Join(err, vault.Close()); err != nil {
		d.t.Fatal(err)
	}
}
