package engine

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The stamp lands on its digits whatever the length of the header, and says
// when the message was sent: not before it was due.
func TestDelayedIsStampedAndNeverEarly(t *testing.T) {
	s := serve(t, scripted{}, nil)
	c := s.dial("a")
	for _, n := range []int{40, 125, 126, 65535, 65536} {
		for _, at := range []int{0, 7, n - stampDigits} {
			payload := strings.Repeat("x", at) + strings.Repeat("0", stampDigits) + strings.Repeat("y", n-at-stampDigits)
			due := time.Now().Add(5 * time.Millisecond)
			if err := s.later(due, "a", textFrame(payload), at); err != nil {
				t.Fatal(err)
			}
			_, got, err := c.ReadMessage()
			if err != nil || len(got) != n {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			if time.Now().Before(due) {
				t.Error("early")
			}
			ms, err := strconv.ParseInt(string(got[at:at+stampDigits]), 10, 64)
			if err != nil || ms < due.UnixMilli() || ms > time.Now().UnixMilli() {
				t.Errorf("stamp %d, due %d: %v", ms, due.UnixMilli(), err)
			}
			if string(got[:at]) != payload[:at] || string(got[at+stampDigits:]) != payload[at+stampDigits:] {
				t.Error("the stamp changed something else")
			}
		}
	}
}

// Messages of one time go out in the order in which they were scheduled;
// earlier ones overtake them; who gets them is decided when they go.
func TestDelayedOrder(t *testing.T) {
	s := serve(t, identifying(), nil)
	c := s.dial("before")
	due := time.Now().Add(300 * time.Millisecond)
	const count = 100
	for i := range count {
		token := "a"
		if i%4 == 0 {
			token = "" // everybody
		}
		if err := s.later(due, token, textFrame(fmt.Sprint(i)), -1); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.later(due, "before", textFrame("for nobody by then"), -1); err != nil {
		t.Fatal(err)
	}
	if err := s.later(time.Now().Add(-time.Hour), "", textFrame("overdue"), -1); err != nil {
		t.Fatal(err)
	}
	wantText(t, c, "overdue")
	identify(t, c, "a")
	for i := range count {
		wantText(t, c, fmt.Sprint(i))
	}
	await(t, "none waits", func() bool { return s.Stats().Delayed == 0 })
	s.send("a", "end", 1)
	wantText(t, c, "end")
}

// A message that can never be sent is refused at once. One that turns out so
// when its time has come is lost and counted; it does not hold up those behind
// it.
func TestDelayedMessageThatNeverFits(t *testing.T) {
	const limit = 2000
	s := serve(t, scripted{}, func(o *Options) { o.MaxTotalPendingBytes = limit })
	c := s.dial("a")
	if err := s.later(time.Now(), "a", textFrame(strings.Repeat("x", limit)), -1); !errors.Is(err, ErrSaturated) {
		t.Fatalf("larger than the bound: %v", err)
	}
	for range limit/itemCost + 1 { // each costs that much, whatever the message
		s.dial("crowd")
	}
	if err := s.later(time.Now(), "crowd", textFrame("x"), -1); err != nil {
		t.Fatal(err)
	}
	if err := s.later(time.Now().Add(5*time.Millisecond), "a", textFrame("behind"), -1); err != nil {
		t.Fatal(err)
	}
	wantText(t, c, "behind")
	if n := s.Stats().DelayedLost; n != 1 {
		t.Errorf("%d counted as lost", n)
	}
}

// The bytes of what waits for its time are bounded, not its number alone.
func TestDelayedBytesAreBounded(t *testing.T) {
	const limit = 10_000
	s := serve(t, scripted{}, func(o *Options) { o.MaxTotalPendingBytes = limit })
	message := textFrame(strings.Repeat("x", 1000))
	n := 0
	for ; n <= 10; n++ {
		if err := s.later(time.Now().Add(time.Hour), "a", message, -1); err != nil {
			if !errors.Is(err, ErrTooMany) {
				t.Fatal(err)
			}
			break
		}
	}
	if n != limit/(message.Len()+packedHead+4+len("a")) {
		t.Errorf("%d messages fit", n)
	}
}

func TestMaxDelayedAndTheFarFuture(t *testing.T) {
	s := serve(t, scripted{}, func(o *Options) { o.MaxDelayed = 3 })
	c := s.dial("a")
	for _, due := range []time.Time{time.Now().Add(time.Hour), time.Now().Add(math.MaxInt64), time.Now().AddDate(100_000, 0, 0)} {
		if err := s.later(due, "a", textFrame("not now"), -1); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.later(time.Now().Add(time.Hour), "a", textFrame("one more"), -1); !errors.Is(err, ErrTooMany) {
		t.Errorf("the fourth: %v", err)
	}
	s.send("a", "now", 1)
	wantText(t, c, "now")
	if st := s.Stats(); st.Delayed != 3 || st.Scheduled != 3 || st.Saturated != 1 {
		t.Errorf("delayed %d, scheduled %d, refused %d", st.Delayed, st.Scheduled, st.Saturated)
	}
	_ = c.Close()
	s.stop()
	if n := s.Stats().DelayedLost; n != 3 {
		t.Errorf("%d counted as lost, not 3", n)
	}
}

// later schedules one message, for one token or, with "", for everybody.
func (s *server) later(due time.Time, token string, f Frame, stamp int) error {
	m := Delayed{Key: s.NewKey(), Created: time.Now(), Due: due, Frame: f, Stamp: stamp}
	if token != "" {
		m.Tokens = []string{token}
	}
	return s.Schedule([]Delayed{m}, nil)
}
