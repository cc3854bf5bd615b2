package store

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	crashRounds = 30
	dirVariable = "STORE_TEST_DIR"
)

// bodyOf is the body of a key in the crash test.
func bodyOf(key uint64) string { return strings.Repeat(fmt.Sprint(key, " "), int(key%40)) }

// crashChild adds, cancels and removes until it is killed, and says on its
// standard output what it does: "added K" and "cancelled K" once that is safe,
// "cancelling K" and "removing K" before, "removed K" when a later commit is
// safe that has taken the removal along.
func crashChild() error {
	s, err := Open(os.Getenv(dirVariable), Options{})
	if err != nil {
		return err
	}
	var last atomic.Uint64
	last.Store(s.LastKey())
	failed := make(chan error)
	say := func(what string, key uint64) { fmt.Fprintf(os.Stdout, "%s %d\n", what, key) }
	add := func() (uint64, error) {
		key := last.Add(1)
		err := s.Add([]uint64{key}, [][]byte{[]byte(bodyOf(key))}, nil)
		if err == nil {
			say("added", key)
		}
		return key, err
	}
	for range 8 {
		go func() {
			for {
				key, err := add()
				if err != nil {
					failed <- err
				}
				switch key % 4 {
				case 0:
					say("cancelling", key)
					if err := s.Cancel(key); err != nil {
						failed <- err
					}
					say("cancelled", key)
				case 1:
					say("removing", key)
					s.Remove([]uint64{key})
				}
			}
		}()
	}
	go func() {
		for {
			key, err := add()
			if err != nil {
				failed <- err
			}
			say("removing", key)
			s.Remove([]uint64{key})
			for s.Stats().Removals > 0 {
				time.Sleep(time.Millisecond)
			}
			if _, err := add(); err != nil { // is behind it
				failed <- err
			}
			say("removed", key)
		}
	}()
	return <-failed
}

// TestKilled kills a process that writes, at random moments, and looks at what
// is there: all that was promised, and nothing that was taken back.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	said := map[uint64]string{} // the last word on each key
	rounds, twice, longest := crashRounds, 0, 0
	for round := range rounds {
		lines := runUntilKilled(t, dir, 1+rand.IntN(3000))
		for _, line := range lines {
			var what string
			var key uint64
			if _, err := fmt.Sscan(line, &what, &key); err != nil {
				t.Fatalf("round %d: the child said %q", round, line)
			}
			said[key] = what
		}
		s := openIn(t, dir, Options{})
		there := contents(t, s)
		again := 0
		for key, what := range said {
			body, is := there[key]
			switch {
			case is && body != bodyOf(key):
				t.Fatalf("round %d: key %d has another body", round, key)
			case what == "added" && !is:
				t.Fatalf("round %d: key %d was added, and is lost", round, key)
			case (what == "cancelled" || what == "removed") && is:
				t.Fatalf("round %d: key %d was %s, and is back", round, key, what)
			case what == "cancelled" && !cancelled(t, s, key):
				t.Fatalf("round %d: that key %d was cancelled is forgotten", round, key)
			case what == "removing" && is:
				again++
				said[key] = "added" // from now on it stays
			}
			if key > s.LastKey() {
				t.Fatalf("round %d: the last key %d is below %d", round, s.LastKey(), key)
			}
		}
		twice, longest = twice+again, max(longest, again)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d rounds, %d messages, none lost, %d would be sent twice, at most %d in a round", rounds, len(said), twice, longest)
	if len(said) < rounds {
		t.Errorf("the child did next to nothing: %d messages", len(said))
	}
}

// runUntilKilled runs the child, kills it when it has said so many lines, and
// returns all that it said.
func runUntilKilled(t *testing.T, dir string, enough int) (lines []string) {
	t.Helper()
	child, out := startChild(t, "crash", dir)
	var kill sync.Once
	for {
		line, err := out.ReadString('\n')
		if err != nil { // a part of a line was never said
			break
		}
		if lines = append(lines, line); len(lines) >= enough {
			kill.Do(func() { child.Process.Kill() })
		}
	}
	io.Copy(io.Discard, out)
	if err := child.Wait(); err == nil || child.ProcessState.Exited() {
		t.Fatalf("the child was not killed, it ended by itself: %v", err)
	}
	return lines
}
