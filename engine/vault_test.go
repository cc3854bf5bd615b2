package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
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

// serveDelayed serves with a vault, or with none, and then without a restart.
func serveDelayed(t *testing.T, withVault bool) *durable {
	t.Helper()
	if withVault {
		return serveDurable(t, nil)
	}
	return &durable{t: t, server: serve(t, identifying(), nil)}
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

// cancelled reports whether key is remembered as taken back.
func (d *durable) cancelled(key uint64) bool {
	d.t.Helper()
	was, err := d.Cancelled(key)
	if err != nil {
		d.t.Fatal(err)
	}
	return was
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
	d := serveDurable(t, func(o *Options) { o.MissedGrace = time.Second }) // for the clients to come
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
	c := d.dial("a")
	d.at(time.Now().Add(300*time.Millisecond), "soon", "a")
	d.delayed.mu.Lock()
	near := d.delayed.near.Len()
	d.delayed.mu.Unlock()
	if near > 1 {
		t.Errorf("%d near", near)
	}
	wantText(t, c, "soon")
}

// faulty is a vault whose disk fails when it is told to.
type faulty struct {
	Vault
	broken atomic.Bool
}

var errBroken = errors.New("broken")

func (f *faulty) Add(keys []uint64, bodies [][]byte, receipt []byte) error {
	if f.broken.Load() {
		return errBroken
	}
	return f.Vault.Add(keys, bodies, receipt)
}

func (f *faulty) Cancel(key uint64) error {
	if f.broken.Load() {
		return errBroken
	}
	return f.Vault.Cancel(key)
}

func (f *faulty) Load(keys []uint64, visit func(uint64, []byte, error)) error {
	if f.broken.Load() {
		return errBroken
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
	c := d.dial("a")
	due := time.Now().Add(2 * time.Second)
	kept := d.at(due, "kept", "a")
	f.broken.Store(true)
	m := Delayed{Key: d.NewKey(), Due: due, Frame: textFrame("refused"), Stamp: -1}
	if err := d.Schedule([]Delayed{m}, nil); !errors.Is(err, ErrUnstored) || !errors.Is(err, errBroken) {
		t.Errorf("Schedule: %v", err)
	}
	if err := d.Cancel(kept); !errors.Is(err, ErrUnstored) || !errors.Is(err, errBroken) {
		t.Errorf("Cancel: %v", err)
	}
	if _, err := d.Waiting(kept); !errors.Is(err, ErrUnstored) {
		t.Errorf("Waiting: %v", err)
	}
	f.broken.Store(false)
	if _, err := d.Waiting(kept); err != nil {
		t.Errorf("Waiting: %v", err)
	}
	wantText(t, c, "kept")
	if s := d.Stats(); s.Delayed != 0 || s.Scheduled != 1 || s.Cancelled != 0 {
		t.Errorf("%+v", s)
	}
}

// Everything at once against a plain account: messages near and far, taken
// back, restarts in between; each that stays goes out exactly once, in the
// order of the times and, where these are equal, in that of their keys.
func TestDurableAgainstAnAccount(t *testing.T) {
	d := serveDurable(t, func(o *Options) { o.MissedGrace = time.Second }) // for the client to come
	rnd := rand.New(rand.NewPCG(3, 4))
	want := map[uint64]int64{} // due by key
	var keys []uint64
	base := time.Now().Add(time.Hour)
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
	d.down()
	d.shift(time.Until(base.Add(-time.Second)) * -1) // the first of them is due in a second
	d.start()
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
