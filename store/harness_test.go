package store

import (
	"bufio"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childVariable names, in the environment, what a child process of a test is
// to do in place of the tests.
const childVariable = "STORE_TEST_CHILD"

// children are the programs that tests run as processes of their own.
var children = map[string]func() error{
	"crash": crashChild,
	"limit": limitChild,
	"hold":  holdChild,
}

// startChild starts one of children on a folder and returns what it says.
func startChild(t *testing.T, name, dir string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childVariable+"="+name, dirVariable+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	return child, bufio.NewReader(out)
}

func TestMain(m *testing.M) {
	if name := os.Getenv(childVariable); name != "" {
		if err := children[name](); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goroutines, files := runtime.NumGoroutine(), openFiles()
	code := m.Run()
	if f := flag.Lookup("test.fuzz"); f != nil && f.Value.String() != "" {
		os.Exit(code) // fuzzing has goroutines of its own
	}
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > goroutines && time.Now().Before(end); {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > goroutines && code == 0 {
		fmt.Fprintf(os.Stderr, "%d goroutines are left, at first there were %d\n", n, goroutines)
		code = 1
	}
	if n := openFiles(); n > files && code == 0 {
		fmt.Fprintf(os.Stderr, "%d descriptors are left open, at first there were %d\n", n, files)
		code = 1
	}
	os.Exit(code)
}

// openFiles counts the descriptors that lead to files.
func openFiles() (n int) {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, "/") &&
			!strings.HasPrefix(to, "/dev/") && !strings.HasPrefix(to, "/proc/") {
			n++
		}
	}
	return n
}

// openIn opens a store that is closed with the test.
func openIn(tb testing.TB, dir string, o Options) *Store {
	tb.Helper()
	s, err := Open(dir, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

// mustAdd adds one message.
func mustAdd(tb testing.TB, s *Store, key uint64, body string) {
	tb.Helper()
	if err := s.Add([]uint64{key}, [][]byte{[]byte(body)}, nil); err != nil {
		tb.Fatal(err)
	}
}

// cancelled reports whether the store remembers that key was cancelled.
func cancelled(tb testing.TB, s *Store, key uint64) bool {
	tb.Helper()
	was, err := s.Cancelled(key)
	if err != nil {
		tb.Fatal(err)
	}
	return was
}

// waitFor waits until a condition holds.
func waitFor(tb testing.TB, holds func() bool) {
	tb.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatal("it did not come to pass within a minute")
		}
	}
}

// contents returns what is stored, and checks the order of keys.
func contents(tb testing.TB, s *Store) map[uint64]string {
	tb.Helper()
	all := map[uint64]string{}
	var before uint64
	err := s.Each(func(key uint64, body []byte) error {
		if key <= before && len(all) > 0 {
			tb.Errorf("key %d comes after %d", key, before)
		}
		before, all[key] = key, string(body)
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// wantContents fails the test unless exactly want is stored.
func wantContents(tb testing.TB, s *Store, want map[uint64]string) {
	tb.Helper()
	if got := contents(tb, s); !maps.Equal(got, want) {
		tb.Fatalf("stored are the keys %v, instead of %v (or bodies differ)",
			slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	if n := s.Stats().Pending; n != uint64(len(want)) {
		tb.Fatalf("the store counts %d messages, there are %d", n, len(want))
	}
}

// memoryDir is a folder in memory, where there is one: for tests that sync much
// and are not about the disk.
func memoryDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "store")
	if err != nil {
		return tb.TempDir()
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// mount mounts a file system for the test, and reports whether it may.
func mount(tb testing.TB, kind, options string) (dir string, ok bool) {
	tb.Helper()
	dir = tb.TempDir()
	if err := syscall.Mount(kind, dir, kind, 0, options); err != nil {
		tb.Logf("mounting a %s: %v", kind, err)
		return dir, false
	}
	tb.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			tb.Error(err)
		}
	})
	return dir, true
}
