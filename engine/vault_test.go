package engine

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gorelay/store"
)

// durable is an engine with a vault in a folder, which can be started again.
type durable struct {
	*server
	t      *testing.T
	dir    string
	vault  *store.Store
	change func(*Options)
}

func serveDurable(t *testing.T, change func(*Options)) *durable {
	t.Helper()
	d := &durable{t: t, dir: t.TempDir(), change: change}
	d.start()
	t.Cleanup(func() {
		d.stop()
		if err := d.vault.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func (d *durable) start() {
	d.t.Helper()
	vault, err := store.Open(d.dir, store.Options{})
	if err != nil {
		d.t.Fatal(err)
	}
	d.vault = vault
	d.server = serve(d.t, identifying(), func(o *Options) {
		o.Vault, o.MissedGrace = vault, 0
		if d.change != nil {
			d.change(o)
		}
	})
}

// restart stops the engine and starts another one on the same folder.
func (d *durable) restart() {
	d.t.Helper()
	d.down()
	d.start()
}

func (d *durable) down() {
	d.t.Helper()
	d.stop()
	if err := d.vault.Close(); err != nil {
		d.t.Fatal(err)
	}
}

// at schedules one message and returns its key.
func (d *durable) at(due time.Time, text string, tokens ...string) uint64 {
	d.t.Helper()
	key := d.NewKey()
	err := d.Schedule([]Delayed{{Key: key, Created: time.Now(), Due: due, Tokens: tokens, Frame: textFrame(text), Stamp: -1}}, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return key
}

func TestDelayedMessagesSurviveARestart(t *testing.T) {
	d := serveDurable(t, nil)
	soon := time.Now().Add(1200 * time.Millisecond)
	d.at(soon.Add(time.Millisecond), "second", "a")
	d.at(soon, "first", "a", "b")
	d.at(soon.Add(2*time.Millisecond), "third")
	far := d.at(time.Now().Add(time.Hour), "far", "a")
	last := d.NewKey()
	d.restart()
	if n := d.Stats().Delayed; n != 4 {
		t.Fatalf("%d wait", n)
	}
	a, b := d.dial("a"), d.dial("b")
	for _, want := range []string{"first", "second", "third"} {
		wantText(t, a, want)
	}
	wantText(t, b, "first")
	wantText(t, b, "third")
	if d.NewKey() <= far || last <= far {
		t.Error("a key was given out twice")
	}
	await(t, "they are gone", func() bool { return d.Stats().Delayed == 1 })
	_, _ = a.Close(), b.Close()
	d.restart()
	if n := d.Stats(); n.Delayed != 1 || n.MissedSent != 0 {
		t.Errorf("after the second restart %d wait, %d were sent again", n.Delayed, n.MissedSent)
	}
}

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

// Far messages take no memory but their entries, near ones are never read from
// disk, and both stay exact.
func TestFarMessagesLieOnDiskAlone(t *testing.T) {
	d := serveDurable(t, nil)
	big := strings.Repeat("x", 10_000)
	for range 100 {
		d.at(time.Now().Add(time.Hour), big, "a")
	}
	if n := d.delayed.far.Len(); n != 100 || d.delayed.bytes != 0 {
		t.Errorf("%d far, %d bytes in memory", n, d.delayed.bytes)
	}
	d.at(time.Now().Add(300*time.Millisecond), "soon", "a")
	d.delayed.mu.Lock()
	near := d.delayed.near.Len()
	d.delayed.mu.Unlock()
	if near > 1 {
		t.Errorf("%d near", near)
	}
	wantText(t, d.dial("a"), "soon")
}

// A message that is taken back does not go out, wherever it lay, and not after
// a restart either.
func TestCancel(t *testing.T) {
	for _, withVault := range []bool{false, true} {
		t.Run(fmt.Sprint("vault ", withVault), func(t *testing.T) {
			d := &durable{t: t}
			if withVault {
				d = serveDurable(t, nil)
			} else {
				d.server = serve(t, identifying(), nil)
			}
			c := d.dial("a")
			now := time.Now()
			near, far := d.at(now.Add(700*time.Millisecond), "near", "a"), d.at(now.Add(1600*time.Millisecond), "far", "a", "b")
			d.at(now.Add(1700*time.Millisecond), "end", "a")
			if m, err := d.Waiting(far); err != nil || !slices.Equal(m.Tokens, []string{"a", "b"}) || m.Due.UnixMilli() != ceilMilli(now.Add(1600*time.Millisecond)) || m.Key != far {
				t.Errorf("%+v, %v", m, err)
			}
			for _, key := range []uint64{near, far} {
				if err := d.Cancel(key); err != nil || !d.Cancelled(key) {
					t.Errorf("%v, known %v", err, d.Cancelled(key))
				}
				if err := d.Cancel(key); !errors.Is(err, ErrNotWaiting) {
					t.Errorf("again: %v", err)
				}
				if _, err := d.Waiting(key); !errors.Is(err, ErrNotWaiting) {
					t.Errorf("still there: %v", err)
				}
			}
			gone := d.at(now.Add(time.Hour), "never", "a")
			if err := d.Cancel(gone); err != nil {
				t.Fatal(err)
			}
			wantText(t, c, "end")
			if s := d.Stats(); s.Delayed != 0 || s.Cancelled != 3 {
				t.Errorf("%d wait, %d cancelled", s.Delayed, s.Cancelled)
			}
			_ = c.Close()
			if withVault {
				d.restart()
				if s := d.Stats(); s.Delayed != 0 || !d.Cancelled(gone) || d.Cancelled(gone+1) {
					t.Errorf("after a restart %d wait", s.Delayed)
				}
			}
		})
	}
}

// faulty is a vault whose disk fails when it is told to.
type faulty struct {
	Vault
	add, cancel, load error
}

func (f *faulty) Add(keys []uint64, bodies [][]byte, receipt []byte) error {
	if f.add != nil {
		return f.add
	}
	return f.Vault.Add(keys, bodies, receipt)
}

func (f *faulty) Cancel(key uint64) error {
	if f.cancel != nil {
		return f.cancel
	}
	return f.Vault.Cancel(key)
}

func (f *faulty) Load(keys []uint64, visit func(uint64, []byte, error)) error {
	if f.load != nil {
		return f.load
	}
	return f.Vault.Load(keys, visit)
}

// What the disk does not take has no effect; what it took is not harmed.
func TestDiskThatFails(t *testing.T) {
	var f *faulty
	d := serveDurable(t, func(o *Options) {
		f = &faulty{Vault: o.Vault}
		o.Vault = f
	})
	broken := errors.New("broken")
	due := time.Now().Add(1300 * time.Millisecond)
	kept := d.at(due, "kept", "a")
	f.add, f.cancel, f.load = broken, broken, broken
	m := Delayed{Key: d.NewKey(), Due: due, Frame: textFrame("refused"), Stamp: -1}
	if err := d.Schedule([]Delayed{m}, nil); !errors.Is(err, ErrUnstored) || !errors.Is(err, broken) {
		t.Errorf("Schedule: %v", err)
	}
	if err := d.Cancel(kept); !errors.Is(err, ErrUnstored) || !errors.Is(err, broken) {
		t.Errorf("Cancel: %v", err)
	}
	if _, err := d.Waiting(kept); !errors.Is(err, ErrUnstored) {
		t.Errorf("Waiting: %v", err)
	}
	f.add, f.cancel, f.load = nil, nil, nil
	if _, err := d.Waiting(kept); err != nil {
		t.Errorf("Waiting: %v", err)
	}
	wantText(t, d.dial("a"), "kept")
	if s := d.Stats(); s.Delayed != 0 || s.Scheduled != 1 || s.Cancelled != 0 {
		t.Errorf("%+v", s)
	}
}

// Pages are in due order, miss nothing and repeat nothing, while messages lie
// in both wheels and on the way between them.
func TestListWaiting(t *testing.T) {
	d := serveDurable(t, nil)
	rnd := rand.New(rand.NewPCG(1, 2))
	base := time.Now().Add(time.Minute).Truncate(time.Second)
	var all []Delayed
	for range 500 {
		m := Delayed{Key: d.NewKey(), Created: time.Now(), Frame: textFrame("x"), Stamp: -1}
		m.Due = base.Add(time.Duration(rnd.IntN(100)) * time.Duration(1<<rnd.IntN(30)) * time.Millisecond)
		for _, token := range []string{"a", "b", "c"} {
			if rnd.IntN(3) == 0 {
				m.Tokens = append(m.Tokens, token)
			}
		}
		all = append(all, m)
	}
	if err := d.Schedule(all, nil); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		i := rnd.IntN(len(all))
		if err := d.Cancel(all[i].Key); err != nil {
			t.Fatal(err)
		}
		all = slices.Delete(all, i, i+1)
	}
	slices.SortFunc(all, func(a, b Delayed) int { return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.Key, b.Key)) })
	for _, token := range []string{"", "a", "b", "nobody"} {
		for _, limit := range []int{1, 7, 100, 1000} {
			var want, got []uint64
			for _, m := range all {
				if token == "" || slices.Contains(m.Tokens, token) {
					want = append(want, m.Key)
				}
			}
			for at, more := (Place{}), true; more; {
				page, next, err := d.ListWaiting(token, at, limit)
				if err != nil || len(page) > limit {
					t.Fatal(len(page), err)
				}
				for _, m := range page {
					got = append(got, m.Key)
				}
				at, more = next, !next.IsZero()
			}
			if !slices.Equal(got, want) {
				t.Errorf("token %q, limit %d: %d of %d, or another order", token, limit, len(got), len(want))
			}
		}
	}
}

// Everything at once against a plain account: messages near and far, taken
// back, restarts in between; each that stays goes out exactly once, in the
// order of the times and, where these are equal, in that of their keys.
func TestDurableAgainstAnAccount(t *testing.T) {
	d := serveDurable(t, nil)
	rnd := rand.New(rand.NewPCG(3, 4))
	want := map[uint64]int64{} // due by key
	var keys []uint64
	base := time.Now().Add(3 * time.Second)
	for round := range 3 {
		if round > 0 {
			d.restart()
		}
		for range 150 {
			due := base.Add(time.Duration(rnd.IntN(300)) * 5 * time.Millisecond)
			key := d.NewKey()
			if err := d.Schedule([]Delayed{{Key: key, Due: due, Tokens: []string{"a"}, Frame: textFrame(fmt.Sprint(key)), Stamp: -1}}, nil); err != nil {
				t.Fatal(err)
			}
			want[key] = ceilMilli(due)
			keys = append(keys, key)
			if i := rnd.IntN(4 * len(keys)); i < len(keys) && d.Cancel(keys[i]) == nil {
				delete(want, keys[i])
			}
		}
	}
	c := d.dial("a")
	var last Place
	for n := len(want); n > 0; n-- {
		_, text, err := c.ReadMessage()
		if err != nil {
			t.Fatalf("%d are missing: %v", n, err)
		}
		key, err := strconv.ParseUint(string(text), 10, 64)
		due, ok := want[key]
		if err != nil || !ok {
			t.Fatalf("%s was cancelled, or came twice", text)
		}
		delete(want, key)
		at := Place{due, key}
		if at.compare(last) <= 0 {
			t.Errorf("%v behind %v", at, last)
		}
		last = at
	}
	await(t, "all are gone", func() bool { return d.Stats().Delayed == 0 })
	_ = c.Close()
	d.restart()
	if s := d.Stats(); s.Delayed != 0 {
		t.Errorf("%d are there again", s.Delayed)
	}
}
