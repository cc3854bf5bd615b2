package store

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

func TestModesOfWhatIsCreated(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	openIn(t, dir, Options{})
	for path, want := range map[string]os.FileMode{
		dir: os.ModeDir | dirMode, filepath.Join(dir, fileName): fileMode, filepath.Join(dir, lockName): fileMode,
	} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("there is more than two files: %v", entries)
	}
}

func TestSecondStoreIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir, Options{})
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("the second: %v", err)
	}
	mustAdd(t, s, s.LastKey()+1, "x")
	s.Close()
	openIn(t, dir, Options{})
}

// holdChild keeps a store open until it is killed.
func holdChild() error {
	if _, err := Open(os.Getenv(dirVariable), Options{}); err != nil {
		return err
	}
	fmt.Println("open")
	select {}
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	child, out := startChild(t, "hold", dir)
	defer child.Wait()
	defer child.Process.Kill()
	if line, err := out.ReadString('\n'); line != "open\n" {
		t.Fatal(line, err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("while another process has it: %v", err)
	}
	child.Process.Kill()
	child.Wait()
	openIn(t, dir, Options{})
}

func TestFolderThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "data")} {
		if _, err := Open(dir, Options{}); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func TestReadOnlyFolder(t *testing.T) {
	dir, ok := mount(t, "tmpfs", "size=4m")
	if ok {
		openIn(t, dir, Options{}).Close()
		if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
	} else if os.Geteuid() != 0 {
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
	} else {
		t.Skip("may not mount, and permissions do not bind root")
	}
	for _, dir := range []string{dir, filepath.Join(dir, "new")} {
		if _, err := Open(dir, Options{}); !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func TestEmptiedFileIsCompacted(t *testing.T) {
	dir := t.TempDir()
	o := Options{CompactAbove: 1 << 20}
	s := openIn(t, dir, o)
	keys := fill(t, s, 20_000, make([]byte, benchBody))
	last, secret := s.LastKey(), string(s.Secret())
	mustAdd(t, s, last+1, "to cancel")
	if err := s.Cancel(last + 1); err != nil {
		t.Fatal(err)
	}
	s.Remove(keys[100:])
	s.Close()
	full := fileSize(t, dir)

	// What a compaction that was cut off has left is no hindrance.
	if err := os.WriteFile(filepath.Join(dir, newName), make([]byte, 10_000), 0o600); err != nil {
		t.Fatal(err)
	}
	s = openIn(t, dir, o)
	if size := fileSize(t, dir); size > full/4 {
		t.Errorf("of %d bytes %d are left", full, size)
	}
	want := map[uint64]string{}
	for _, k := range keys[:100] {
		want[k] = string(make([]byte, benchBody))
	}
	wantContents(t, s, want)
	if s.LastKey() != last+1 || string(s.Secret()) != secret || !cancelled(t, s, last+1) {
		t.Error("compaction has lost the state")
	}
	mustAdd(t, s, last+2, "comes")
	want[last+2] = "comes"
	s.Close()
	s = openIn(t, dir, o)
	wantContents(t, s, want)
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("there is more than two files: %v", entries)
	}
}

// TestCompactionWithoutRoom leaves the old file in its place.
func TestCompactionWithoutRoom(t *testing.T) {
	dir, ok := mount(t, "tmpfs", "size=8m")
	if !ok {
		t.Skip("needs the right to mount")
	}
	s := openIn(t, dir, Options{})
	want := map[uint64]string{}
	if err := fillUp(s, want); err != nil {
		t.Fatal(err)
	}
	keys := slices.Sorted(maps.Keys(want))
	gone := keys[:len(keys)*2/3]
	s.Remove(gone)
	for _, k := range gone {
		delete(want, k)
	}
	s.Close()
	before := fileSize(t, dir)
	s = openIn(t, dir, Options{CompactAbove: 1})
	if fileSize(t, dir) != before {
		t.Error("there was no room, and yet the file has another size")
	}
	wantContents(t, s, want)
	mustAdd(t, s, s.LastKey()+1, "comes")
}

func fileSize(t *testing.T, dir string) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
