package api

import (
	"bytes"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var versionSeven = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestIDLayout(t *testing.T) {
	m := newIDMint([]byte("secret"))
	for _, test := range []struct {
		id   pushID
		want string // without the code, the last 22 bits
	}{
		{pushID{0, 0}, "00000000-0000-7000-8000-0000000"},
		{pushID{0x0123456789ab, 0xfedcba9876543}, "01234567-89ab-7fed-b2ea-61d950c"},
		{pushID{timeMask, 1<<keyBits - 1}, "ffffffff-ffff-7fff-bfff-fffffff"},
		{pushID{1733890000000, 1}, "0193b3e5-c480-7000-8000-0000004"},
	} {
		text := string(m.append(nil, test.id))
		if !versionSeven.MatchString(text) {
			t.Errorf("%+v: %s is no UUIDv7", test.id, text)
		}
		// A digit of the code's two upper bits hangs together with the key.
		if got := text[:len(test.want)-1]; got != test.want[:len(test.want)-1] {
			t.Errorf("%+v: %s, want %s…", test.id, text, test.want)
		}
		if id, ok := m.parse([]byte(strings.ToUpper(text))); !ok || id != test.id {
			t.Errorf("%s came back as %+v, %t", text, id, ok)
		}
	}
}

func TestIDsSortAsTheyWereGiven(t *testing.T) {
	m := newIDMint(nil)
	now := time.UnixMilli(1733890000000)
	var ids []string
	for key := range uint64(2000) {
		ids = append(ids, string(m.append(nil, m.next(now, key+1<<39-1000))))
		now = now.Add(time.Duration(rand.IntN(3)-1) * time.Millisecond) // back as well
	}
	if !slices.IsSorted(ids) || len(slices.Compact(ids)) != 2000 {
		t.Fatal("the ids are not in order")
	}
}

func TestIDTimeNeverGoesBack(t *testing.T) {
	m := newIDMint(nil)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			last := int64(0)
			for range 2000 {
				id := m.next(time.UnixMilli(rand.Int64N(1<<40)), 1)
				if id.ms < last {
					t.Errorf("%d after %d", id.ms, last)
				}
				last = id.ms
			}
		})
	}
	wg.Wait()
}

func TestIDOfAnotherIsUnknown(t *testing.T) {
	secret := []byte("0123456789abcdef")
	m := newIDMint(secret)
	text := m.append(nil, pushID{1733890000000, 77})
	if _, ok := newIDMint(secret).parse(text); !ok {
		t.Error("the same secret does not know its id")
	}
	for name, other := range map[string]*idMint{"another secret": newIDMint([]byte("0123456789abcdeg")), "no secret": newIDMint(nil)} {
		// By chance one of four million ids passes: two do not.
		_, first := other.parse(text)
		_, second := other.parse(m.append(nil, pushID{1733890000001, 78}))
		if first && second {
			t.Errorf("%s knows the id", name)
		}
	}
	passed := 0
	for i := range text {
		for _, c := range []byte("0123456789abcdef") {
			forged := bytes.Clone(text)
			if text[i] == '-' || c == text[i] {
				continue
			}
			forged[i] = c
			if _, ok := m.parse(forged); ok {
				passed++
			}
		}
	}
	if passed > 0 { // the secret is fixed: this is not left to chance
		t.Errorf("%d ids with one digit changed pass", passed)
	}
	for _, text := range []string{
		"", "x", someUUID, string(text) + "0", string(text[:35]), "{" + string(text[:34]) + "}",
		strings.ReplaceAll(string(text), "-", ""), strings.Replace(string(text), "-", "0", 1), "-" + string(text[1:]),
		"g" + string(text[1:]), "urn:uuid:" + string(text),
	} {
		if id, ok := m.parse([]byte(text)); ok {
			t.Errorf("%q is taken for %+v", text, id)
		}
	}
}

func FuzzID(f *testing.F) {
	m := newIDMint([]byte("secret"))
	f.Add([]byte(someUUID), int64(1733890000000), uint64(7))
	f.Add(m.append(nil, pushID{1, 1}), int64(-1), uint64(1)<<63)
	f.Fuzz(func(t *testing.T, text []byte, ms int64, key uint64) {
		if id, ok := m.parse(text); ok && string(m.append(nil, id)) != strings.ToLower(string(text)) {
			t.Fatalf("%q is taken for %+v", text, id)
		}
		id := pushID{ms & timeMask, key & (1<<keyBits - 1)}
		made := m.append(nil, id)
		if back, ok := m.parse(made); !ok || back != id || !versionSeven.Match(made) {
			t.Fatalf("%+v became %s and %+v", id, made, back)
		}
	})
}
