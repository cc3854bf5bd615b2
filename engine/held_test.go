package engine

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// saturate takes all the room there is for what waits for sockets, until the
// returned function gives it back.
func (s *server) saturate() (relieve func()) {
	all := s.opts.MaxTotalPendingBytes
	s.waiting.Add(all)
	return func() { s.waiting.Add(-all) }
}

// holdBack schedules messages for one token that come due while the engine is
// saturated, and waits until all are held back.
func (d *durable) holdBack(texts ...string) (keys []uint64) {
	d.t.Helper()
	due := time.Now()
	var batch []Delayed
	for i, text := range texts {
		key := d.NewKey()
		batch = append(batch, Delayed{Key: key, Created: due, Due: due.Add(time.Duration(-i-1) * time.Hour), Tokens: []string{"a"}, Frame: textFrame(text), Stamp: -1})
		keys = append(keys, key)
	}
	if err := d.Schedule(batch, nil); err != nil {
		d.t.Fatal(err)
	}
	await(d.t, "the engine holds them back", func() bool {
		d.delayed.mu.Lock()
		defer d.delayed.mu.Unlock()
		return len(d.delayed.held)+d.delayed.near.Len() == len(texts) && len(d.delayed.held) > 0
	})
	return keys
}

// What is due but held back waits for all to see, and can be taken back; the
// rest goes out in its order.
func TestHeldBackMessagesWait(t *testing.T) {
	for _, withVault := range []bool{false, true} {
		t.Run(fmt.Sprint("vault ", withVault), func(t *testing.T) {
			d := serveDelayed(t, withVault)
			c := d.dial("a")
			relieve := d.saturate()
			keys := d.holdBack("first", "second", "third", "fourth", "fifth")
			for _, key := range keys {
				if m, err := d.Waiting(key); err != nil || m.Key != key || time.Until(m.Due) > 0 {
					t.Errorf("%+v, %v", m, err)
				}
			}
			for _, i := range []int{0, 3} { // the first is the one that is tried
				if err := d.Cancel(keys[i]); err != nil || !d.cancelled(keys[i]) {
					t.Errorf("%v, known %v", err, d.cancelled(keys[i]))
				}
				if err := d.Cancel(keys[i]); !errors.Is(err, ErrNotWaiting) {
					t.Errorf("again: %v", err)
				}
				if _, err := d.Waiting(keys[i]); !errors.Is(err, ErrNotWaiting) {
					t.Errorf("still there: %v", err)
				}
			}
			left := []uint64{keys[1], keys[2], keys[4]}
			for _, token := range []string{"", "a"} {
				page, _, err := d.ListWaiting(token, Place{}, 10)
				var listed []uint64
				for _, m := range page {
					listed = append(listed, m.Key)
				}
				if slices.Sort(listed); err != nil || !slices.Equal(listed, left) {
					t.Errorf("listed %v, want %v: %v", listed, left, err)
				}
			}
			if s := d.Stats(); s.Delayed != len(left) || s.Cancelled != 2 {
				t.Errorf("%d wait, %d cancelled", s.Delayed, s.Cancelled)
			}
			relieve()
			for _, text := range []string{"second", "third", "fifth"} {
				wantText(t, c, text)
			}
			await(t, "nothing waits", func() bool { return d.Stats().Delayed == 0 })
			for _, key := range left {
				if err := d.Cancel(key); !errors.Is(err, ErrNotWaiting) || d.cancelled(key) {
					t.Errorf("after it was sent: %v", err)
				}
			}
			d.delayed.mu.Lock()
			if d.delayed.bytes != 0 || d.delayed.held != nil {
				t.Errorf("%d bytes, %d held", d.delayed.bytes, len(d.delayed.held))
			}
			d.delayed.mu.Unlock()
			_ = c.Close()
			if withVault {
				d.restart()
				if s := d.Stats(); s.Delayed != 0 {
					t.Errorf("after a restart %d wait", s.Delayed)
				}
			}
		})
	}
}

// What is held back when a stop runs out of time is counted as lost, or waits
// on disk for the next start.
func TestStopWhileMessagesAreHeldBack(t *testing.T) {
	for _, withVault := range []bool{false, true} {
		t.Run(fmt.Sprint("vault ", withVault), func(t *testing.T) {
			d := serveDelayed(t, withVault)
			c := d.dial("a")
			relieve := d.saturate()
			keys := d.holdBack("first", "second", "third")
			if err := d.Cancel(keys[1]); err != nil {
				t.Fatal(err)
			}
			close(d.delayed.abort) // as at the end of a stop's time
			d.delayed.done.Wait()
			d.delayed.abort = make(chan struct{})
			relieve()
			_ = c.Close()
			if !withVault {
				d.stop()
				if n := d.Stats().DelayedLost; n != 2 {
					t.Errorf("%d are lost, want 2", n)
				}
				return
			}
			d.change = func(o *Options) { o.MissedGrace = time.Second }
			d.restart()
			c = d.dial("a")
			wantText(t, c, "third") // it was due before the first
			wantText(t, c, "first")
			_ = c.Close()
		})
	}
}

// Messages that are held back are asked for and taken back while they are tried
// and sent: each is sent or taken back, never both, and never out of sight.
func TestHeldBackMessagesAreSentOrTakenBack(t *testing.T) {
	const count = 300
	d := &durable{t: t, server: serve(t, identifying(), nil)}
	c := d.dial("a")
	relieve := d.saturate()
	texts := make([]string, count)
	for i := range texts {
		texts[i] = fmt.Sprint(i)
	}
	keys := d.holdBack(texts...)
	cancelled := map[string]bool{}
	for i := len(keys) - 1; i >= 0; i -= 3 {
		_, lost := d.Waiting(keys[i])
		switch err := d.Cancel(keys[i]); {
		case err == nil && lost == nil:
			cancelled[texts[i]] = true
		case err == nil || !errors.Is(err, ErrNotWaiting):
			t.Errorf("Waiting: %v, Cancel: %v", lost, err)
		}
		if i == count/2-1 {
			relieve()
		}
	}
	for _, text := range texts {
		if !cancelled[text] {
			wantText(t, c, text)
		}
	}
	if len(cancelled) < count/6 { // those before there was room
		t.Errorf("only %d were taken back", len(cancelled))
	}
	await(t, "nothing waits", func() bool { return d.Stats().Delayed == 0 })
	_ = c.Close()
}
