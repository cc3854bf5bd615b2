package engine

import (
	"slices"
	"testing"
	"time"
)

// removals is a vault that notes what is taken out of it.
type removals struct {
	Vault
	keys []uint64
}

func (r *removals) Remove(keys []uint64) { r.keys = append(r.keys, keys...) }

func TestSentLog(t *testing.T) {
	var l sentLog
	var v removals
	if _, ok := l.next(); ok {
		t.Error("something to forget in an empty log")
	}
	keys := []uint64{1, 2}
	l.add(10, keys)
	keys[0], keys[1] = 3, 4 // the caller's array is its own again
	l.add(10, keys)
	l.add(20, []uint64{5})
	if at, ok := l.next(); !ok || at != 10+forgetAfter {
		t.Errorf("next at %d", at)
	}
	for _, step := range []struct {
		now  uint64
		want []uint64
	}{
		{9 + forgetAfter, nil}, {10 + forgetAfter, []uint64{1, 2, 3, 4}}, {19 + forgetAfter, []uint64{1, 2, 3, 4}},
		{noTick, []uint64{1, 2, 3, 4, 5}}, {noTick, []uint64{1, 2, 3, 4, 5}},
	} {
		l.forget(v.Remove, step.now)
		if !slices.Equal(v.keys, step.want) {
			t.Errorf("at %d: %v, want %v", step.now, v.keys, step.want)
		}
	}
	if len(l.batches) != 0 {
		t.Errorf("%d batches are left", len(l.batches))
	}
}

// While messages go out late, none is taken out of the vault, but not for ever.
func TestSentLogWaitsForCalm(t *testing.T) {
	var l sentLog
	var v removals
	next := func(want uint64) {
		t.Helper()
		if at, ok := l.next(); !ok || at != want {
			t.Errorf("next at %d, want %d", at, want)
		}
	}
	const last = 1 + forgetAfter // when 1 is to be forgotten
	l.add(1, []uint64{1})
	l.fired(last-lateBy, last-1) // in time, as good as
	next(last)
	l.fired(last-lateBy-1, last-1)
	next(last - 1 + calmFor)
	l.forget(v.Remove, last)
	if len(v.keys) > 0 {
		t.Errorf("%v taken out while messages are late", v.keys)
	}
	l.add(last, []uint64{2})
	for now := uint64(last); now < forgetLatest; now++ {
		l.fired(now-lateBy, now)
		l.forget(v.Remove, now)
	}
	next(1 + forgetLatest)
	l.forget(v.Remove, 1+forgetLatest)
	if !slices.Equal(v.keys, []uint64{1}) {
		t.Errorf("%v taken out, want the first", v.keys)
	}
	next(forgetLatest - 1 + calmFor)
	l.forget(v.Remove, forgetLatest-1+calmFor)
	if !slices.Equal(v.keys, []uint64{1, 2}) {
		t.Errorf("%v taken out when it was calm again, want both", v.keys)
	}
}

// Late is also what goes out in time when a worker is behind.
func TestSentLogWaitsForWorkers(t *testing.T) {
	e := withoutSockets(2)
	e.began = time.Now().Add(-time.Minute)
	d := newDelayed(e)
	f := firing{delayed: d}
	fire := func(key uint64) (calm uint64) {
		t.Helper()
		d.insert(uint64(e.now()), tagEverybody, bodyOf(key, 1))
		if fired, ok := f.fire(); !fired || !ok {
			t.Fatal("the message was not sent")
		}
		return f.sent.calm
	}
	began := uint64(e.now())
	e.shards[1].since.Store(int64(began - lateBy))
	if calm := fire(1); calm < began+calmFor {
		t.Errorf("calm at %d though at %d a worker is behind", calm, began)
	}
	f.sent.calm = 0
	e.shards[1].since.Store(0)
	if late, calm := began, fire(2); calm > 0 && uint64(e.now()) < late+lateBy {
		t.Errorf("calm at %d, want at once", calm)
	}
}

// A message that is not in the kernel's hands yet is still on disk.
func TestSentMessagesStayInTheVaultForAMoment(t *testing.T) {
	d := serveDurable(t, nil)
	c := d.dial("a")
	began := time.Now()
	sent := d.at(time.Now().Add(time.Millisecond), "now", "a")
	wantText(t, c, "now")
	still := false
	_ = d.vault.Load([]uint64{sent}, func(uint64, []byte, error) { still = true })
	if !still && time.Since(began) < forgetAfter*time.Millisecond {
		t.Error("it was taken out at once")
	}
	await(t, "it is forgotten", func() bool { return d.vault.Stats().Pending == 0 })
}
