package store

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// sabotage makes every write to the store's file fail: the descriptor becomes
// one that may only read. The good one is for mend, or to be closed.
func sabotage(t *testing.T, s *Store) (good int) {
	t.Helper()
	fd := int(s.db.file.Fd())
	good, err := syscall.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	bad, err := os.Open(s.folder.file())
	if err != nil {
		t.Fatal(err)
	}
	defer bad.Close()
	if err := syscall.Dup3(int(bad.Fd()), fd, syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	return good
}

func mend(t *testing.T, s *Store, good int) {
	t.Helper()
	if err := errors.Join(syscall.Dup3(good, int(s.db.file.Fd()), syscall.O_CLOEXEC), syscall.Close(good)); err != nil {
		t.Fatal(err)
	}
}

// TestFailedCommit has commits fail in the middle of their writing, with few
// free pages in the file, which it lists then, and with many.
func TestFailedCommit(t *testing.T) {
	for _, c := range []struct {
		name string
		free int // messages of 4 MiB that were there
	}{{"few free pages", 0}, {"many free pages", maxSyncedFree*block/(4<<20) + 4}} {
		t.Run(c.name, func(t *testing.T) {
			dir := memoryDir(t)
			var log bytes.Buffer
			s := openIn(t, dir, Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), CompactAbove: 1 << 40})
			want := map[uint64]string{}
			var filler []uint64
			for range c.free {
				filler = append(filler, s.LastKey()+1)
				mustAdd(t, s, s.LastKey()+1, string(make([]byte, 4<<20)))
			}
			for range 100 {
				want[s.LastKey()+1] = "stays"
				mustAdd(t, s, s.LastKey()+1, "stays")
			}
			last := s.LastKey()
			s.Remove(filler)
			waitFor(t, func() bool { return s.Stats().Pending == 100 })
			mustAdd(t, s, last, "stays") // sees how many pages are free
			if got := s.db.NoFreelistSync; got != (c.free > 0) {
				t.Fatalf("the list of free pages is left out: %v", got)
			}

			good := sabotage(t, s)
			enqueue(s, []uint64{last})
			waitFor(t, func() bool { return s.Stats().Failures > 0 })
			requests := []*request{
				{keys: []uint64{last + 1, last + 2}, bodies: [][]byte{nil, []byte("no")}},
				{keys: []uint64{last + 3}, bodies: [][]byte{[]byte("no")}},
				{keys: []uint64{last - 1}, cancel: true},
			}
			enqueue(s, nil, requests...)
			for i, r := range requests {
				if !errors.Is(r.err, syscall.EBADF) {
					t.Errorf("request %d: error %v", i, r.err)
				}
			}
			wantContents(t, s, want) // the removal too has had no effect yet
			if cancelled(t, s, last-1) {
				t.Error("what failed is remembered as cancelled")
			}

			mend(t, s, good)
			delete(want, last)
			waitFor(t, func() bool { return s.Stats().Pending == 99 }) // the removal was kept
			mustAdd(t, s, last+3, "comes")
			want[last+3] = "comes"
			wantContents(t, s, want)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(log.String(), "stay in the file"); n != 1 {
				t.Errorf("the log speaks of the removals %d times: %s", n, log.String())
			}
			s = openIn(t, dir, Options{CompactAbove: 1 << 40})
			wantContents(t, s, want)
		})
	}
}

// TestCloseWithoutDisk cannot do its last work, and says so.
func TestCloseWithoutDisk(t *testing.T) {
	dir := memoryDir(t)
	var log bytes.Buffer
	s := openIn(t, dir, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	key := s.LastKey() + 1
	mustAdd(t, s, key, "is sent")
	good := sabotage(t, s)
	s.Remove([]uint64{key})
	s.Close()
	syscall.Close(good) // has the lock on the file
	if !strings.Contains(log.String(), "will be sent again") {
		t.Errorf("the log says %q", log.String())
	}
	wantContents(t, openIn(t, dir, Options{}), map[uint64]string{key: "is sent"})
}

// TestOneHeadIsEnough loses each of the two heads in turn.
func TestOneHeadIsEnough(t *testing.T) {
	file, want := specimen(t)
	for head := range 2 {
		t.Run(fmt.Sprint("head ", head), func(t *testing.T) {
			dir := memoryDir(t)
			f := bytes.Clone(file)
			clear(f[head*block:][:block])
			if err := os.WriteFile(filepath.Join(dir, fileName), f, 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			s := openIn(t, dir, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			wantContents(t, s, want)
			if !strings.Contains(log.String(), "unreadable") {
				t.Errorf("the log says %q", log.String())
			}
		})
	}
}
