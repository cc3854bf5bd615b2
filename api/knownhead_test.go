package api

import (
	"fmt"
	"strings"
	"testing"

	"gorelay/engine"
)

// A known head matches what is the same but for the digits of its length, and
// nothing else.
func TestKnownHeadMatches(t *testing.T) {
	const head = "POST /api/push HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nX-API-KEY: k\r\n\r\n"
	var k knownHead
	if _, _, ok := k.match([]byte(head)); ok {
		t.Error("nothing is known, and matches")
	}
	k.missed([]byte(head))
	for _, tt := range []struct {
		read string
		body int // -1: no match
	}{
		{head, 12},
		{head + "a body", 12},
		{strings.Replace(head, "12", "7", 1), 7},
		{strings.Replace(head, "12", "99999", 1), 99999},
		{strings.Replace(head, "12", "0", 1), 0},
		{strings.Replace(head, "12", "", 1) + "more", -1},
		{strings.Replace(head, "12", "123456", 1), -1},
		{strings.Replace(head, "12", "-1", 1), -1},
		{strings.Replace(head, "12", "+1", 1), -1},
		{strings.Replace(head, "12", "1 2", 1), -1},
		{strings.Replace(head, "12", "1,2", 1), -1},
		{strings.Replace(head, "12", "0x1", 1), -1},
		{strings.Replace(head, "KEY: k", "KEY: l", 1), -1},
		{strings.Replace(head, "Host: x", "Host: y", 1), -1},
		{strings.Replace(head, "POST", "PUT ", 1), -1},
		{strings.Replace(head, "X-API", "Expect: 100-continue\r\nX-API", 1), -1},
		{strings.ToLower(head), -1},
		{"", -1},
	} {
		n, body, ok := k.match([]byte(tt.read))
		if ok != (tt.body >= 0) || ok && (body != tt.body || n != strings.Index(tt.read, "\r\n\r\n")+4) {
			t.Errorf("%q: %d, %d, %t; want a body of %d", tt.read, n, body, ok, tt.body)
		}
	}
	for cut := range head {
		if _, _, ok := k.match([]byte(head[:cut])); ok {
			t.Errorf("the first %d bytes match", cut)
		}
	}
}

// A head is not let in because it is known if it has become too long.
func TestKnownHeadsThatBecomeTooLong(t *testing.T) {
	const start, end = "POST / HTTP/1.1\r\nContent-Length: 1", "\r\n\r\n"
	head := start + "\r\nX: " + strings.Repeat("x", maxHeadBytes-len(start+"\r\nX: "+end)) + end
	var k knownHead
	k.missed([]byte(head))
	if n, _, ok := k.match([]byte(head)); !ok || n != maxHeadBytes {
		t.Fatalf("the head of %d bytes: %d, %t", len(head), n, ok)
	}
	if n, _, ok := k.match([]byte(strings.Replace(head, ": 1", ": 11", 1))); ok {
		t.Errorf("a head of %d bytes matches", n)
	}
}

// Heads with more than one length, or with none that is written as usual, are
// not learned.
func TestKnownHeadsThatAreNotLearned(t *testing.T) {
	for _, head := range []string{
		"POST / HTTP/1.1\r\nContent-Length: 12\r\nContent-Length: 12\r\n\r\n",
		"POST / HTTP/1.1\r\ncontent-length: 12\r\nContent-Length: 12\r\n\r\n",
		"POST / HTTP/1.1\r\nX-Content-Length: 1\r\nContent-Length: 12\r\n\r\n",
		"POST / HTTP/1.1\r\ncontent-length: 12\r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length:12\r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length:  12\r\n\r\n",
		"POST / HTTP/1.1\r\n\r\n",
	} {
		var k knownHead
		k.missed([]byte(head))
		if len(k.before) > 0 {
			t.Errorf("%q is known as %q and %q", head, k.before, k.behind)
		}
	}
}

// Publishers that take turns do not make each other's heads learned all the time.
func TestKnownHeadsAreSeldomLearned(t *testing.T) {
	var k knownHead
	learned := 0
	for i := range 10 * learnEvery {
		before := string(k.behind)
		k.missed(fmt.Appendf(nil, "POST / HTTP/1.1\r\nContent-Length: 1\r\nX: %d\r\n\r\n", i))
		if string(k.behind) != before {
			learned++
		}
	}
	if learned != 10 {
		t.Errorf("%d heads were learned of %d, want 10", learned, 10*learnEvery)
	}
}

// Once a head is known every request gets the verdict that it gets without.
func TestVerdictsWithKnownHeads(t *testing.T) {
	o := DefaultOptions()
	o.APIKey, o.MaxDelay = testKey, testMaxDelay
	for _, known := range inPlaceRequests {
		if known.verdict != engine.Answered {
			continue
		}
		s := NewServer(o, &recorder{t: t})
		m := newInPlace()
		s.inPlace.New = func() any { return m }
		if _, _, v := s.answerInPlace([]byte(known.request), nil); v != engine.Answered || len(m.known.before) == 0 {
			t.Fatalf("%s: verdict %d, known %q", known.name, v, m.known.before)
		}
		before, behind := string(m.known.before), string(m.known.behind)
		for _, test := range inPlaceRequests {
			m.known = knownHead{[]byte(before), []byte(behind), 1}
			s.inPlace.Put(m)
			if _, _, v := s.answerInPlace([]byte(test.request), nil); v != test.verdict {
				t.Errorf("%s after %s: verdict %d, want %d", test.name, known.name, v, test.verdict)
			}
		}
	}
}

// A head that is known does not let anything in once the server stops.
func TestKnownHeadsAtAStop(t *testing.T) {
	o := DefaultOptions()
	o.APIKey = testKey
	s := NewServer(o, nowhere{})
	m := newInPlace()
	s.inPlace.New = func() any { return m }
	request := []byte(pushOf(`{"event_name":"e","subject":1}`))
	if _, _, v := s.answerInPlace(request, nil); v != engine.Answered || len(m.known.before) == 0 {
		t.Fatalf("verdict %d, known %q", v, m.known.before)
	}
	s.stopping.Store(true)
	if n, out, v := s.answerInPlace(request, nil); v != engine.Foreign || n != 0 || len(out) > 0 {
		t.Errorf("verdict %d, %d bytes, answer %q", v, n, out)
	}
}
