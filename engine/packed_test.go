package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPackedMessages(t *testing.T) {
	for _, tt := range []struct {
		tokens []string
		text   string
		stamp  int
	}{
		{nil, "all", -1},
		{[]string{"a"}, "0123456789abc", 0},
		{[]string{"USER_1"}, "payload 0123456789abc", 8},
		{[]string{strings.Repeat("t", 70_000)}, "x", -1},
		{[]string{"\x00", "b", ""}, "\x00" + strings.Repeat("x", 1<<17), 1 << 16},
	} {
		m := Delayed{
			Key: 1<<52 - 1, Created: time.UnixMilli(1_733_890_000_001), Due: time.UnixMilli(1_733_890_000_002).Add(1),
			Tokens: tt.tokens, Frame: textFrame(tt.text), Stamp: tt.stamp,
		}
		b := appendPacked(nil, &m)
		if len(b) != packedLen(&m) {
			t.Errorf("%d bytes, said to be %d", len(b), packedLen(&m))
		}
		p := packedFrom(b)
		if err := p.check(); err != nil {
			t.Fatal(err)
		}
		got := p.message()
		if got.Key != m.Key || !got.Created.Equal(m.Created) || got.Due.UnixMilli() != 1_733_890_000_003 || !slices.Equal(got.Tokens, m.Tokens) {
			t.Errorf("%+v", got)
		}
		_, at := p.tokens(nil)
		want := []byte(m.Frame.wire)
		if tt.stamp >= 0 {
			stampTime(want[len(want)-len(tt.text)+tt.stamp:], m.Created)
		}
		if string(p.wire(at, m.Created)) != string(want) {
			t.Errorf("%.20q: another frame", tt.text)
		}
	}
}

// Tokens that were given as a list come back as one. The bytes of all others are
// as they were when there was no list of one.
func TestPackedListsOfTokens(t *testing.T) {
	for _, tt := range []struct {
		tokens []string
		list   bool
		count  string // on disk
		want   bool
	}{
		{nil, false, "\x00\x00\x00\x00", false},
		{[]string{"a"}, false, "\x00\x00\x00\x01", false},
		{[]string{"a"}, true, "\x80\x00\x00\x01", true},
		{[]string{"a", "b"}, true, "\x00\x00\x00\x02", true},
		{[]string{"a", "b"}, false, "\x00\x00\x00\x02", true},
	} {
		m := Delayed{Key: 7, Tokens: tt.tokens, List: tt.list, Frame: textFrame("0123456789abc"), Stamp: 0}
		p := packedFrom(appendPacked(nil, &m))
		if err := p.check(); err != nil || len(p) != packedLen(&m) || string(p[28:32]) != tt.count {
			t.Errorf("%v, list %t: %x, %v", tt.tokens, tt.list, p[28:32], err)
		}
		if got := p.message(); got.List != tt.want || !slices.Equal(got.Tokens, tt.tokens) {
			t.Errorf("%v, list %t came back as %v, list %t", tt.tokens, tt.list, got.Tokens, got.List)
		}
	}
}

func TestListOfOneSurvivesARestart(t *testing.T) {
	d := serveDurable(t, nil)
	m := Delayed{Key: d.NewKey(), Created: time.Now(), Due: time.Now().Add(time.Hour), Tokens: []string{"a"}, List: true, Frame: textFrame("x"), Stamp: -1}
	if err := d.Schedule([]Delayed{m}, nil); err != nil {
		t.Fatal(err)
	}
	single := d.at(time.Now().Add(time.Hour), "x", "a")
	for _, when := range []string{"at once", "after a restart"} {
		for key, list := range map[uint64]bool{m.Key: true, single: false} {
			if got, err := d.Waiting(key); err != nil || got.List != list || !slices.Equal(got.Tokens, m.Tokens) {
				t.Errorf("%s: %+v, %v, want list %t", when, got, err, list)
			}
		}
		if page, _, err := d.ListWaiting("a", Place{}, 10); err != nil || len(page) != 2 {
			t.Errorf("%s: %d for a, %v", when, len(page), err)
		}
		d.restart()
	}
}

// What a disk gives back is looked at before it is used, whatever it says.
func TestPackedMessagesThatAreBroken(t *testing.T) {
	m := Delayed{Key: 7, Tokens: []string{"one", "two"}, Frame: textFrame(strings.Repeat("0", 40)), Stamp: 3}
	whole := appendPacked(nil, &m)
	for n := range whole[:packedHead+2*4+6+stampDigits] {
		if packed(whole[:n]).check() == nil {
			t.Errorf("%d bytes of %d pass", n, len(whole))
		}
	}
	for _, at := range []int{24, 28, packedHead} {
		b := slices.Clone(whole)
		copy(b[at:], "\x7f\xff\xff\xff")
		if packed(b).check() == nil {
			t.Errorf("a huge number at %d passes", at)
		}
	}
}

func TestStampTime(t *testing.T) {
	for _, ms := range []int64{0, 1, 1_733_890_000_000, 9_999_999_999_999} {
		p := []byte("(?????????????)")
		stampTime(p[1:], time.UnixMilli(ms))
		if want := fmt.Sprintf("(%013d)", ms); string(p) != want {
			t.Errorf("%s, want %s", p, want)
		}
	}
}
