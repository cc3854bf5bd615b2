package test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"gorelay/internal/relaytest"
)

// commitWindow is how long before a kill a message may have fired that fires
// again. A relay takes what it has sent off the disk half a second later, and a
// commit takes its time. While messages go out late it waits longer, and
// lateWindow counts.
const (
	commitWindow = time.Second
	lateWindow   = 3 * time.Second

	// lateMillis is when a message is late: 5 ms, less what the two clocks
	// round off.
	lateMillis = 4
)

// entry is what is known of one push. Times are milliseconds since the epoch.
type entry struct {
	due      int64
	accepted bool
	came     []int64 // the times at which it fired
	excused  bool    // it may have found nobody
}

// kill is when the relay was told to die and when it was dead, in milliseconds
// since the epoch. In between it may still have sent.
type kill struct{ signal, dead int64 }

// crashLedger is the account of a crash test.
type crashLedger struct {
	kills []kill // owned by the test's goroutine

	mu   sync.Mutex
	book map[string]*entry // by event
	open int               // accepted, not excused, and not come
}

func newCrashLedger() *crashLedger { return &crashLedger{book: make(map[string]*entry)} }

// entryLocked finds a push; it may arrive before its answer does.
func (l *crashLedger) entryLocked(event string) *entry {
	e := l.book[event]
	if e == nil {
		e = new(entry)
		l.book[event] = e
	}
	return e
}

func (l *crashLedger) accept(event string, due int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entryLocked(event)
	e.due, e.accepted = due, true
	if len(e.came) == 0 {
		l.open++
	}
}

func (l *crashLedger) unanswered(event string, due int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entryLocked(event).due = due
}

// arrive notes a message.
func (l *crashLedger) arrive(raw []byte) error {
	var m envelope
	if err := json.Unmarshal(raw, &m); err != nil {
		return fmt.Errorf("%.200q: %w", raw, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entryLocked(m.Event)
	if len(e.came) == 0 && e.accepted && !e.excused {
		l.open--
	}
	e.came = append(e.came, m.Data.TS)
	return nil
}

// owes reports whether a push that was due by then has not come.
func (l *crashLedger) owes(by int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.book {
		if e.accepted && len(e.came) == 0 && e.due <= by {
			return true
		}
	}
	return false
}

// excuse gives up all that was due by then and has not come.
func (l *crashLedger) excuse(by int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.book {
		if e.accepted && !e.excused && len(e.came) == 0 && e.due <= by {
			e.excused = true
			l.open--
		}
	}
}

// complete reports whether all that is owed has come.
func (l *crashLedger) complete() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open == 0
}

// toKill is the time in milliseconds from a firing to the kill after it.
func (l *crashLedger) toKill(fired int64) int64 {
	for _, k := range l.kills {
		if fired <= k.dead {
			return max(0, k.signal-fired)
		}
	}
	return math.MaxInt64
}

// wasLate reports whether a message went out late between two moments.
func (l *crashLedger) wasLate(from, to int64) bool {
	for _, e := range l.book {
		for _, at := range e.came {
			if at >= from && at <= to && at-e.due >= lateMillis {
				return true
			}
		}
	}
	return false
}

// around names the kills before and after a moment.
func (l *crashLedger) around(moment int64) string {
	n := slices.IndexFunc(l.kills, func(k kill) bool { return k.dead >= moment })
	if n < 0 {
		n = len(l.kills)
	}
	return fmt.Sprintf("kills from number %d on: %v", max(0, n-1), l.kills[max(0, n-1):min(len(l.kills), n+2)])
}

// judge prints the account and fails for what must not be in it.
func (l *crashLedger) judge(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var accepted, unanswered, unansweredCame, lost, twice, excused, early, late int
	var widest int64 // from a doubled message's first firing to the kill after it
	for event, e := range l.book {
		switch {
		case e.accepted:
			accepted++
		case e.due == 0:
			t.Errorf("%s came and was never pushed", event)
		default:
			unanswered++
			unansweredCame += min(1, len(e.came))
		}
		switch {
		case e.excused && len(e.came) == 0:
			excused++
		case e.accepted && len(e.came) == 0:
			lost++
			if lost <= 10 {
				t.Errorf("%s was accepted, due at %d, and is lost; %s", event, e.due, l.around(e.due))
			}
		}
		for i, fired := range e.came {
			if fired < e.due {
				early++
			}
			if i == len(e.came)-1 {
				break
			}
			twice++
			before := l.toKill(fired)
			if before > commitWindow.Milliseconds() && (before > lateWindow.Milliseconds() || !l.wasLate(fired, fired+before)) {
				late++
				if late <= 10 {
					t.Errorf("%s fired at %v, and no kill was close behind the first; %s", event, e.came, l.around(fired))
				}
				continue
			}
			widest = max(widest, before)
		}
	}
	t.Logf("%d kills: %d accepted, %d lost, %d came twice (fired at most %d ms before a kill), %d without an answer of which %d came, %d excused",
		len(l.kills), accepted, lost, twice, widest, unanswered, unansweredCame, excused)
	if early > 0 {
		t.Errorf("%d fired before their time", early)
	}
	if lost > 0 || late > 0 {
		t.Errorf("%d lost, %d doubled without reason", lost, late)
	}
	if accepted < 100*len(l.kills) || excused*2 > accepted {
		t.Errorf("%d accepted, %d excused: that shows nothing", accepted, excused)
	}
}

// writeConfig writes a config.json.
func writeConfig(t *testing.T, dir string, c relaytest.Config) {
	t.Helper()
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
}
