package engine

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// A message that is taken back does not go out, wherever it lay, and not after
// a restart either.
func TestCancel(t *testing.T) {
	for _, withVault := range []bool{false, true} {
		t.Run(fmt.Sprint("vault ", withVault), func(t *testing.T) {
			d := serveDelayed(t, withVault)
			c := d.dial("a")
			now := time.Now()
			near, far := d.at(now.Add(900*time.Millisecond), "near", "a"), d.at(now.Add(2*time.Second), "far", "a", "b")
			d.at(now.Add(2100*time.Millisecond), "end", "a")
			if m, err := d.Waiting(far); err != nil || !slices.Equal(m.Tokens, []string{"a", "b"}) || m.Due.UnixMilli() != ceilMilli(now.Add(2*time.Second)) || m.Key != far {
				t.Errorf("%+v, %v", m, err)
			}
			for _, key := range []uint64{near, far} {
				if err := d.Cancel(key); err != nil || !d.cancelled(key) {
					t.Errorf("%v, known %v", err, d.cancelled(key))
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
				if s := d.Stats(); s.Delayed != 0 || !d.cancelled(gone) || d.cancelled(gone+1) {
					t.Errorf("after a restart %d wait", s.Delayed)
				}
			}
		})
	}
}
