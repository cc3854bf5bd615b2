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

// Until they are sent, missed messages are listed by the times at which they were
// due, before all others, and page by page.
func TestMissedMessagesAreListedInOrder(t *testing.T) {
	f := &faulty{}
	d := serveDurable(t, func(o *Options) {
		f.Vault, o.Vault, o.MissedGrace = o.Vault, f, time.Hour
	})
	const count = 2 * loadBatch
	due := time.Now().Add(time.Hour)
	var want []uint64
	for i := range count {
		want = append(want, d.at(due.Add(-time.Duration(i/2)*time.Second), "x", []string{"a", "b"}[i%2]))
	}
	slices.Reverse(want)
	for i := 0; i < count; i += 2 { // of the same time the older first
		want[i], want[i+1] = want[i+1], want[i]
	}
	ahead := d.at(due.Add(2*time.Hour), "x", "a")
	d.down()
	d.shift(-2 * time.Hour)
	f.broken.Store(true) // they stay where they are
	d.start()
	var places []uint64
	for _, p := range d.delayed.collect(&candidates{limit: 1000, all: true}) {
		places = append(places, p.Key)
	}
	if !slices.Equal(places, append(slices.Clone(want), ahead)) {
		t.Errorf("on disk: %v, want %v", places, want)
	}
	f.broken.Store(false)
	want = append(want, ahead, d.at(time.Now().Add(time.Minute), "x", "a"))
	want[count], want[count+1] = want[count+1], want[count]
	inOrder := func(when string) {
		t.Helper()
		for _, limit := range []int{1, 7, 1000} {
			var got []uint64
			for at, more := (Place{}), true; more; {
				page, next, err := d.ListWaiting("", at, limit)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range page {
					got = append(got, m.Key)
				}
				at, more = next, !next.IsZero()
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, limit %d: %v, want %v", when, limit, got, want)
			}
		}
	}
	await(t, "all that was missed is in memory", func() bool {
		d.delayed.mu.Lock()
		defer d.delayed.mu.Unlock()
		return d.delayed.near.Len() >= count && len(d.delayed.loading) == 0
	})
	inOrder("in memory")
	page, _, err := d.ListWaiting("b", Place{}, 1)
	if err != nil || len(page) > 0 && page[0].Key != want[1] {
		t.Errorf("for b: %+v, %v", page, err)
	}
	if err := d.Cancel(want[3]); err != nil {
		t.Fatal(err)
	}
	want = slices.Delete(want, 3, 4)
	inOrder("after a cancel")
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
	await(t, "it was sent as missed", func() bool { return d.Stats().MissedSent == 1 })
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
