package engine

import (
	"testing"
	"unicode/utf8"
)

// trickyTexts are texts at the edges of UTF-8 (RFC 3629), valid and not.
var trickyTexts = []struct{ name, text string }{
	{"empty", ""},
	{"ascii", "hello"},
	{"two bytes", "\u00fc\u0080\u07ff"},
	{"three bytes", "\u0800\u20ac\uffff"},
	{"four bytes", "\U00010000\U0001f600\U0010ffff"},
	{"mixed", "a\u00e9\u20ac\U0001f600z"},
	{"around the surrogates", "\ud7ff\ue000"},
	{"replacement character", "\ufffd"},
	{"NUL", "a\x00b"},
	{"overlong two", "\xc0\xaf"},
	{"overlong three", "\xe0\x80\xaf"},
	{"overlong four", "\xf0\x80\x80\xaf"},
	{"surrogate", "\xed\xa0\x80"},
	{"above the last", "\xf4\x90\x80\x80"},
	{"five bytes", "\xf8\x88\x80\x80\x80"},
	{"ff", "a\xffb"},
	{"lone continuation", "\x80"},
	{"continuations", "ab\x80\x80\x80\x80"},
	{"cut two", "ab\xc3"},
	{"cut three", "ab\xe2\x82"},
	{"cut four", "ab\xf0\x9f\x98"},
	{"cut then ascii", "\xe2\x82a"},
	{"cut then start", "\xf0\x9f\xc3\xa9"},
}

// feedAll reports what a stream says of pieces.
func feedAll(pieces ...string) bool {
	var u utf8Stream
	for _, p := range pieces {
		if !u.feed([]byte(p)) {
			return false
		}
	}
	return u.complete()
}

func TestUTF8StreamEverySplit(t *testing.T) {
	for _, tt := range trickyTexts {
		t.Run(tt.name, func(t *testing.T) {
			want := utf8.ValidString(tt.text)
			for i := 0; i <= len(tt.text); i++ {
				for j := i; j <= len(tt.text); j++ {
					if got := feedAll(tt.text[:i], tt.text[i:j], tt.text[j:]); got != want {
						t.Errorf("split at %d and %d: %v, want %v", i, j, got, want)
					}
				}
			}
		})
	}
}

// A text fails with the very byte that no continuation can mend.
func TestUTF8StreamFailsFast(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		at         int // index of the hopeless byte
	}{
		{"never a start", "abc\xffdef", 3},
		{"lone continuation", "\x80", 0},
		{"overlong two", "\xc0\xaf", 0},
		{"overlong three", "\xe0\x80\xaf", 1},
		{"overlong four", "\xf0\x8f\xbf\xbf", 1},
		{"surrogate", "x\xed\xa0\x80", 2},
		{"above the last", "\xf4\x90\x80\x80", 1},
		{"not continued", "\xf0\x9f\x98a", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var u utf8Stream
			for i := range len(tt.text) {
				if ok := u.feed([]byte{tt.text[i]}); ok != (i < tt.at) {
					t.Fatalf("byte %d: %v", i, ok)
				}
				if i == tt.at {
					return
				}
			}
		})
	}
}

func FuzzUTF8Stream(f *testing.F) {
	for _, tt := range trickyTexts {
		f.Add(tt.text, uint16(1), uint16(2))
	}
	f.Fuzz(func(t *testing.T, text string, a, b uint16) {
		i := int(a) % (len(text) + 1)
		j := i + int(b)%(len(text)-i+1)
		if got, want := feedAll(text[:i], text[i:j], text[j:]), utf8.ValidString(text); got != want {
			t.Fatalf("%q split at %d and %d: %v, want %v", text, i, j, got, want)
		}
	})
}
