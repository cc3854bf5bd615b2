package store

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// fillUp adds, ten at a time, until it is refused, and returns what was
// accepted.
func fillUp(s *Store, want map[uint64]string) error {
	for range 100_000 {
		var keys []uint64
		var bodies [][]byte
		for key := s.LastKey() + 1; key <= s.LastKey()+10; key++ {
			body := bodyOf(key)
			if key%50 == 0 {
				body += string(make([]byte, 20_000)) // needs pages in a row
			}
			keys, bodies = append(keys, key), append(bodies, []byte(body))
		}
		err := s.Add(keys, bodies, nil)
		if errors.Is(err, ErrFull) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("it failed with %w", err)
		}
		for i, key := range keys {
			want[key] = string(bodies[i])
		}
	}
	return errors.New("it was never full")
}

// same compares the store with want.
func same(s *Store, want map[uint64]string) error {
	got := map[uint64]string{}
	if err := s.Each(func(key uint64, body []byte) error { got[key] = string(body); return nil }); err != nil {
		return err
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("%d messages are there, of %d", len(got), len(want))
	}
	return nil
}

// liveThroughFull fills the store's disk, makes room first beside the file and
// then in it, and looks at what is there at each step.
func liveThroughFull(dir string, makeRoom func() error) error {
	s, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	want := map[uint64]string{}
	steps := []struct {
		name string
		do   func() error
	}{
		{"filling it", func() error { return fillUp(s, want) }},
		{"looking", func() error { return same(s, want) }},
		{"making room outside", makeRoom},
		{"filling that", func() error {
			before := len(want)
			if err := fillUp(s, want); err != nil || len(want) > before {
				return err
			}
			return errors.New("it stayed full")
		}},
		{"cancelling, which gives room", func() error {
			key := slices.Max(slices.Collect(maps.Keys(want)))
			delete(want, key)
			return s.Cancel(key)
		}},
		{"removing half", func() error {
			keys := slices.Sorted(maps.Keys(want))
			half := keys[:len(keys)/2]
			s.Remove(half)
			for _, k := range half {
				delete(want, k)
			}
			for range 1_000_000 { // until the removals are through
				if s.Stats().Pending == uint64(len(want)) {
					return nil
				}
				syscall.Select(0, nil, nil, nil, &syscall.Timeval{Usec: 1000})
			}
			return fmt.Errorf("the removals do not go through: %+v", s.Stats())
		}},
		{"filling the room that they left", func() error {
			before := len(want)
			if err := fillUp(s, want); err != nil || len(want) > before+before/4 {
				return err
			}
			return fmt.Errorf("%d messages went in, %d were there", len(want)-before, before)
		}},
		{"a large batch beside a small one", func() error {
			big := &request{keys: []uint64{s.LastKey() + 2}, bodies: [][]byte{make([]byte, 4<<20)}}
			enqueue(s, nil, big)
			if !errors.Is(big.err, ErrFull) {
				return fmt.Errorf("4 MiB went in: %v", big.err)
			}
			return nil
		}},
		{"closing", func() error { return s.Close() }},
		{"opening it, as full as it is", func() (err error) {
			s, err = Open(dir, Options{CompactAbove: 1})
			return err
		}},
		{"looking again", func() error { return same(s, want) }},
		{"closing again", func() error { return s.Close() }},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			s.Close()
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

func TestDiskFull(t *testing.T) {
	dir, ok := mount(t, "tmpfs", "size=3m")
	if !ok {
		t.Skip("needs the right to mount; TestFileSizeLimit covers the same")
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := liveThroughFull(filepath.Join(dir, "data"), func() error { return os.Remove(ballast) }); err != nil {
		t.Error(err)
	}
}

// TestNoRoomForANewFile has no room even for the first pages.
func TestNoRoomForANewFile(t *testing.T) {
	dir, ok := mount(t, "tmpfs", "size=16k")
	if !ok {
		t.Skip("needs the right to mount")
	}
	os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 12<<10), 0o600)
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrFull) {
		t.Errorf("Open: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "ballast")); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 1 {
		t.Errorf("more than the lock is left: %v", left)
	}
}

// TestFileSizeLimit has a limit on the size of a file in place of a full disk.
func TestFileSizeLimit(t *testing.T) { runLimited(t, t.TempDir()) }

// TestNoFallocate is on a file system that cannot allocate in advance.
func TestNoFallocate(t *testing.T) {
	dir, ok := mount(t, "ramfs", "")
	if !ok {
		t.Skip("needs the right to mount")
	}
	runLimited(t, dir)
}

func runLimited(t *testing.T, dir string) {
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childVariable+"=limit", dirVariable+"="+filepath.Join(dir, "data"))
	if out, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func limitChild() error {
	signal.Ignore(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	set := func(bytes uint64) error {
		limit.Cur = bytes
		return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)
	}
	if err := set(2 << 20); err != nil {
		return err
	}
	return liveThroughFull(os.Getenv(dirVariable), func() error { return set(3 << 20) })
}
