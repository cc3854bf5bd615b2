package test

import (
	"fmt"
	"strings"
	"testing"

	"gorelay/internal/wsclient"
)

// validTexts is UTF-8 of every length of sequence, at its borders.
var validTexts = []string{
	"", "a", "\x00", "\x7f", "\u0080", "\u07ff", "\u0800", "\uffff", "\U00010000", "\U0010ffff",
	"\ud7ff", "\ue000", "\ufffd", "\ufdd0", "\ufffe", "\U0001ffff", "\u00a0", "\u2028",
	"κόσμε", "日本語", "😀😁", "Hello-µ@ßöäüàá-UTF-8!!",
}

// invalidTexts is what section 8.1 and RFC 3629 forbid.
var invalidTexts = []string{
	"\x80", "\xbf", "\xc0", "\xc1", "\xc2", "\xdf", "\xe0", "\xef", "\xf0", "\xf4", "\xf5", "\xf8", "\xfc", "\xfe", "\xff", // alone
	"\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf", "\xc0\xaf", // overlong
	"\xed\xa0\x80", "\xed\xbf\xbf", "\xed\xa0\x80\xed\xb0\x80", "\xed\xad\xbf\xed\xbf\xbf", // surrogates
	"\xf4\x90\x80\x80", "\xf7\xbf\xbf\xbf", "\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80", // past U+10FFFF
	"\xe6\x97", "\xf0\x9f\x98", "\xc3", "日\xe6", // cut off
	"\xc3\x28", "\xe2\x28\xa1", "\xe2\x82\x28", "\xf0\x28\x8c\xbc", "\xf0\x90\x28\xbc", "\xf0\x90\x8c\x28", // no continuation
	"a\x80", "é\x80", "\xc3\xc3\xa9", "κόσμε\xed\xa0\x80edited",
}

// fragments cuts s into a message of n-byte fragments.
func fragments(s string, n int) []wsclient.Frame {
	var all []wsclient.Frame
	op := wsclient.OpText
	for len(s) > n {
		all = append(all, part(op, s[:n]))
		s, op = s[n:], wsclient.OpContinuation
	}
	return append(all, final(op, s))
}

func TestValidText(t *testing.T) {
	e := startEcho(t)
	c := e.dial(t)
	all := append([]string{strings.Join(validTexts, "")}, validTexts...)
	for _, s := range all {
		for _, size := range []int{len(s) + 1, 1, 2, 3} {
			t.Run(fmt.Sprintf("%.20q by %d", s, size), func(t *testing.T) {
				if err := c.SendFrames(fragments(s, size)...); err != nil {
					t.Fatal(err)
				}
				wantFrame(t, c, wsclient.OpText, []byte(s))
			})
		}
	}
	stillEchoes(t, c)
}

// TestTextSplitEverywhere cuts a message with code points of every length into
// two fragments at each byte, with a ping between them.
func TestTextSplitEverywhere(t *testing.T) {
	e := startEcho(t)
	c := e.dial(t)
	s := "aé日😀\u0800\U0010ffffz"
	for cut := range len(s) + 1 {
		if err := c.SendFrames(part(wsclient.OpText, s[:cut]), final(wsclient.OpPing, "p"), final(wsclient.OpContinuation, s[cut:])); err != nil {
			t.Fatal(err)
		}
		wantFrame(t, c, wsclient.OpPong, []byte("p"))
		wantFrame(t, c, wsclient.OpText, []byte(s))
	}
}

func TestInvalidText(t *testing.T) {
	e := startEcho(t)
	for _, s := range invalidTexts {
		// Alone, in the middle, far behind a long valid part, and in fragments.
		for name, send := range map[string][]wsclient.Frame{
			"alone":            {text(s)},
			"in the middle":    {text("valid " + s + " valid")},
			"behind 5000":      {text(repeat("é", 2500) + s)},
			"before 5000":      {text(s + repeat("x", 5000))},
			"by bytes":         fragments(s, 1),
			"in the middle by": fragments("日"+s+"本", 2),
			"across a ping":    {part(wsclient.OpText, s[:len(s)/2]), final(wsclient.OpPing, ""), final(wsclient.OpContinuation, s[len(s)/2:])},
			"empty end":        {part(wsclient.OpText, s), final(wsclient.OpContinuation, "")},
		} {
			t.Run(fmt.Sprintf("%+q %s", s, name), func(t *testing.T) {
				c := e.dial(t)
				defer c.Close()
				if err := c.SendFrames(send...); err != nil {
					t.Fatal(err)
				}
				wantClose(t, c, 1007)
			})
		}
	}
	stillEchoes(t, e.dial(t))
}

// TestInvalidTextFailsFast: bytes that nothing can mend end the connection
// before the message does.
func TestInvalidTextFailsFast(t *testing.T) {
	e := startEcho(t)
	for name, send := range map[string]wsclient.Frame{
		"first fragment": part(wsclient.OpText, "valid \xed\xa0\x80 more"),
		"impossible":     part(wsclient.OpText, "\xf4\x90"),
	} {
		t.Run(name, func(t *testing.T) {
			c := e.dial(t)
			defer c.Close()
			if err := c.SendFrames(send); err != nil {
				t.Fatal(err)
			}
			wantClose(t, c, 1007)
		})
	}
}

// TestBinaryIsNotText: the same bytes pass as binary.
func TestBinaryIsNotText(t *testing.T) {
	e := startEcho(t)
	c := e.dial(t)
	for _, s := range invalidTexts {
		if err := c.SendFrames(final(wsclient.OpBinary, s)); err != nil {
			t.Fatal(err)
		}
		wantFrame(t, c, wsclient.OpBinary, []byte(s))
	}
}
