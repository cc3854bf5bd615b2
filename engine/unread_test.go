package engine

import (
	"bytes"
	"cmp"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"gorelay/store"
)

// blind is a vault that cannot read some of its messages, or take any out.
type blind struct {
	Vault
	lost  func(key uint64) bool // nil: it reads all
	stuck bool
	loads int
}

func (b *blind) Cancel(key uint64) error {
	if b.stuck {
		return errBroken
	}
	return b.Vault.Cancel(key)
}

func (b *blind) Load(keys []uint64, visit func(uint64, []byte, error)) error {
	if len(keys) > 0 {
		b.loads++
	}
	if b.lost == nil {
		return b.Vault.Load(keys, visit)
	}
	seen := slices.DeleteFunc(slices.Clone(keys), b.lost)
	if err := b.Vault.Load(seen, visit); err != nil || len(seen) == len(keys) {
		return err
	}
	return errBroken
}

func everything(uint64) bool { return true }

// unread is an engine that has not begun, with a disk that does not read. The
// test does what its goroutine would, and moves its clock.
type unread struct {
	*server
	t     *testing.T
	vault *blind
	log   bytes.Buffer
	fire  firing
}

func listenUnread(t *testing.T, stored ...Delayed) *unread {
	t.Helper()
	vault, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range stored {
		if err := vault.Add([]uint64{stored[i].Key}, [][]byte{appendPacked(nil, &stored[i])}, nil); err != nil {
			t.Fatal(err)
		}
	}
	u := &unread{t: t, vault: &blind{Vault: vault}}
	t.Cleanup(func() { vault.Close() })
	u.server = listen(t, scripted{}, func(o *Options) {
		o.Vault, o.Logger = u.vault, slog.New(slog.NewTextHandler(&u.log, nil))
	})
	u.fire.delayed = u.delayed
	return u
}

// pass lets time pass, and the engine's goroutine work until it would sleep.
func (u *unread) pass(ms int) {
	u.t.Helper()
	u.began = u.began.Add(time.Duration(-ms) * time.Millisecond)
	for loaded, fired := true, true; loaded || fired; {
		loaded = u.delayed.load()
		fired, _ = u.fire.fire()
	}
}

// schedule lets n messages wait on disk, due a millisecond after the other.
func (u *unread) schedule(n int, first uint64) (keys []uint64) {
	u.t.Helper()
	for i := range n {
		due := u.began.Add(time.Duration(first)*time.Millisecond + time.Duration(i)*time.Millisecond)
		m := Delayed{Key: u.NewKey(), Due: due, Created: u.began, Tokens: []string{"a"}, Frame: textFrame("x"), Stamp: -1}
		if err := u.Schedule([]Delayed{m}, nil); err != nil {
			u.t.Fatal(err)
		}
		keys = append(keys, m.Key)
	}
	return keys
}

// want wants so many messages to wait and to have fired, and none to be lost.
func (u *unread) want(waiting int, fired int64) {
	u.t.Helper()
	if s := u.Stats(); s.Delayed != waiting || s.Unicasts != fired || s.DelayedLost != 0 {
		u.t.Fatalf("%d wait, %d fired, %d are lost, want %d, %d and none", s.Delayed, s.Unicasts, s.DelayedLost, waiting, fired)
	}
}

// A disk that reads nothing: what is due waits, once a second a few are asked
// for, what is in memory goes out, and all comes when it reads again.
func TestDiskThatReadsNothing(t *testing.T) {
	const count = 3 * loadBatch
	u := listenUnread(t)
	keys := u.schedule(count, 5000)
	u.vault.lost = everything
	u.pass(1)
	u.schedule(1, 100) // due soon: it does not take the way over the disk
	u.pass(200)
	u.want(count, 1)
	u.pass(5000)
	for n := 1; n <= 5; n++ {
		if u.pass(0); u.vault.loads != n {
			t.Fatalf("it was read %d times after %d seconds", u.vault.loads, n)
		}
		u.delayed.sleep()
		if at := u.delayed.wakesAt; at == 0 || at > uint64(u.now())+retryLoad {
			t.Errorf("the alarm is set for %d, it is %d", at, u.now())
		}
		u.pass(retryLoad)
	}
	u.want(count, 1)
	if _, err := u.Waiting(keys[0]); !errors.Is(err, ErrUnstored) {
		t.Errorf("Waiting: %v", err)
	}
	if _, _, err := u.ListWaiting("a", Place{}, 10); !errors.Is(err, ErrUnstored) {
		t.Errorf("ListWaiting: %v", err)
	}
	if n := strings.Count(u.log.String(), "cannot read"); n != 1 || strings.Count(u.log.String(), "\n") != 1 {
		t.Errorf("the log says: %s", u.log.String())
	}
	// One that is taken back meanwhile is neither sent nor lost.
	if err := u.Cancel(keys[1]); err != nil {
		t.Fatal(err)
	}
	u.vault.lost = nil
	u.pass(retryLoad)
	u.want(0, count) // with the one that was due soon
}

// A disk that reads nothing for long: messages are put aside in turn, so that
// each batch is tried, and still nothing is lost or out of place in a listing.
func TestDiskThatReadsNothingForLong(t *testing.T) {
	const count = 3 * loadBatch
	u := listenUnread(t)
	keys := u.schedule(count, 5000)
	dues := u.farDues(keys)
	u.vault.lost = everything
	u.pass(5000 + count + bearUnread)
	for range 2 {
		u.pass(retryLoad)
	}
	if n := u.delayed.far.Len(); n != count || len(u.delayed.loading) != 0 || u.vault.loads != 3 {
		t.Errorf("%d are far, %d being loaded, after %d times", n, len(u.delayed.loading), u.vault.loads)
	}
	u.vault.lost = nil
	page, _, err := u.ListWaiting("", Place{}, count)
	if err != nil || len(page) != count {
		t.Fatalf("%d are listed: %v", len(page), err)
	}
	if !slices.IsSortedFunc(page, func(a, b Delayed) int { return cmp.Compare(a.Key, b.Key) }) || !slices.Equal(u.farDues(keys), dues) {
		t.Error("they have lost their places")
	}
	if err := u.Cancel(keys[0]); err != nil {
		t.Fatal(err)
	}
	u.want(count-1, 0)
	u.pass(loadAhead + bearUnread)
	u.want(0, count-1)
}

// A missed message that cannot be taken back is sent as if nobody had asked,
// however long ago it was due.
func TestMissedMessageThatIsNotTakenBack(t *testing.T) {
	due := time.Now().Add(-48 * time.Hour)
	u := listenUnread(t, Delayed{Key: 1, Due: due, Created: due, Tokens: []string{"a"}, Frame: textFrame("x"), Stamp: -1})
	u.vault.stuck = true
	if err := u.Cancel(1); !errors.Is(err, ErrUnstored) {
		t.Fatalf("Cancel: %v", err)
	}
	u.want(1, 0)
	u.pass(int(u.opts.MissedGrace.Milliseconds()) + 1)
	u.want(0, 1)
}

// farDues are the times of messages in the far wheel.
func (u *unread) farDues(keys []uint64) (dues []uint64) {
	for _, key := range keys {
		h, _ := u.delayed.where.get(key)
		_, due, entry, _ := u.delayed.far.At(h.index())
		dues = append(dues, due-uint64(entry.early))
	}
	return dues
}

// A disk with a bad spot: it holds up nothing else, not even what is due in
// the same moment, and is tried again.
func TestDiskWithABadSpot(t *testing.T) {
	const count = 2 * loadBatch
	u := listenUnread(t)
	keys := u.schedule(count, 5000)
	bad := keys[10:20]
	u.vault.lost = func(key uint64) bool { return slices.Contains(bad, key) }
	u.pass(5000 + count)
	u.want(len(bad), int64(count-len(bad)))
	loads := u.vault.loads
	u.pass(loadAhead + bearUnread)
	u.want(len(bad), int64(count-len(bad)))
	if u.vault.loads != loads+1 {
		t.Errorf("it was read %d times more", u.vault.loads-loads)
	}
	// Alone it is tried as one that reads nothing, but what is due meanwhile goes on.
	u.schedule(1, uint64(u.now())+5000)
	u.pass(5100)
	u.want(len(bad), int64(count-len(bad)+1))
	u.vault.lost = nil
	u.pass(loadAhead + bearUnread)
	u.want(0, count+1)
}

// While the disk does not read, what is near and due, but has to wait for what is
// not, is no reason to stay awake.
func TestDiskThatReadsNothingLetsSleep(t *testing.T) {
	u := listenUnread(t)
	load := func(what string, until func() bool) {
		for range 100 {
			if until() {
				return
			}
			u.delayed.load()
		}
		t.Fatalf("never %s", what)
	}
	near := u.delayed.near
	u.schedule(20*loadBatch, 5000)
	u.began = u.began.Add(-4 * time.Second)
	load("two batches near", func() bool { return near.Len() >= 2*loadBatch })
	// One among those that are being read: what comes after it is near before it.
	held := u.delayed.loaded + 10
	u.schedule(1, held)
	n := near.Len() + 4*loadBatch
	load("four more", func() bool { return near.Len() >= n })
	u.vault.lost = everything
	load("a batch that cannot be read", func() bool { return len(u.delayed.loading) > 0 })
	u.pass(max(0, int(held)+50-int(u.now())))
	next, _ := near.Next()
	if now := uint64(u.now()); next > now || next <= u.delayed.sendable() {
		t.Fatalf("what is near is due at %d, now is %d, up to %d may be sent: that is no wait", next, now, u.delayed.sendable())
	}
	if wait := u.delayed.sleep(); wait <= 0 {
		t.Errorf("it goes on at once, though the disk is asked again in %d ms only", int64(u.delayed.retry)-u.now())
	}
}
