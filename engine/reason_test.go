package engine

import (
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

func TestEveryReasonIsLabelled(t *testing.T) {
	seen := make(map[string]CloseReason)
	for r := closeNone; r < numCloseReasons; r++ {
		label := r.String()
		if label == "" {
			t.Errorf("reason %d has no label", r)
		}
		if other, twice := seen[label]; twice {
			t.Errorf("reasons %d and %d are both %q", other, r, label)
		}
		seen[label] = r
		entry := closeReasons[r]
		if entry.code == 0 {
			if entry.text != "" {
				t.Errorf("%s: a text and no code", label)
			}
			continue
		}
		if !ValidCloseCode(entry.code) {
			t.Errorf("%s: code %d must not be sent", label, entry.code)
		}
		// RFC 6455 section 5.5: a control frame's payload is 125 bytes at most.
		if f := closeFrame(r, 0, ""); len(f) > 2+ws.MaxControlFramePayloadSize || !utf8.ValidString(entry.text) {
			t.Errorf("%s: close frame of %d bytes, text %q", label, len(f), entry.text)
		}
	}
}

func TestValidCloseCode(t *testing.T) {
	valid := map[ws.StatusCode]bool{
		1000: true, 1001: true, 1002: true, 1003: true,
		1007: true, 1008: true, 1009: true, 1010: true, 1011: true, 1012: true, 1013: true, 1014: true,
	}
	for code := ws.StatusCode(0); ; code++ {
		want := valid[code] || code >= 3000 && code <= 4999
		if got := ValidCloseCode(code); got != want {
			t.Errorf("%d: %v, want %v", code, got, want)
		}
		if code == 0xffff {
			return
		}
	}
}

func TestCloseFrame(t *testing.T) {
	for _, tt := range []struct {
		name   string
		reason CloseReason
		code   ws.StatusCode
		text   string
		want   string
	}{
		{"the peer's empty one", ClosePeer, 0, "", "\x88\x00"},
		{"the peer's code", ClosePeer, 4000, "", "\x88\x02\x0f\xa0"},
		{"a code and a text", ClosePeer, 1000, "bye", "\x88\x05\x03\xe8bye"},
		{"the reason's own", CloseProtocol, 0, "", "\x88\x10\x03\xeaprotocol error"},
		{"nobody there", CloseGone, 0, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(closeFrame(tt.reason, tt.code, tt.text)); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
