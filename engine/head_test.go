package engine

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
	"unsafe"
)

func dataOf(s string) *byte { return unsafe.StringData(s) }

const goodHead = "GET /ws?token=a HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

// claimsWS claims "/ws" with or without a query.
func claimsWS(target []byte) bool {
	path, _, _ := bytes.Cut(target, []byte{'?'})
	return string(path) == "/ws"
}

// paddedHead is goodHead with another Connection line, n bytes long.
func paddedHead(n int) string {
	front := strings.Replace(goodHead, "\r\n\r\n", "\r\nConnection:close\r\nX: ", 1)
	return front + strings.Repeat("x", n-len(front)-4) + "\r\n\r\n"
}

// longHead is a head of exactly n bytes.
func longHead(n int) string {
	const front, back = "GET /ws HTTP/1.1\r\nX: ", "\r\n\r\n"
	return front + strings.Repeat("x", n-len(front)-len(back)) + back
}

func TestJudgeHead(t *testing.T) {
	for _, tt := range []struct {
		name, input string
		want        headVerdict
		size        int
	}{
		{"nothing", "", headPartial, 0},
		{"half a method", "GE", headPartial, 0},
		{"half a line", "GET /ws HTT", headPartial, 0},
		{"ours, no end", "GET /ws HTTP/1.1\r\nHost: h\r\n", headPartial, 0},
		{"ours", goodHead, headComplete, len(goodHead)},
		{"ours and a frame", goodHead + "\x81\x80abcd", headComplete, len(goodHead)},
		{"another path", "POST /api/push HTTP/1.1\r\n", headForeign, 0},
		{"another path, all of it", "GET /health HTTP/1.1\r\nHost: h\r\n\r\n", headForeign, 0},
		{"no target", "GET\r\n", headForeign, 0},
		{"no version", "GET /ws\r\n", headForeign, 0},
		{"two spaces", "GET  /ws HTTP/1.1\r\n", headForeign, 0},
		{"TLS", "\x16\x03\x01", headForeign, 0},
		{"blank line first", "\r\nGET /ws HTTP/1.1\r\n", headForeign, 0},
		{"a line without an end", "GET /" + strings.Repeat("a", maxHead), headForeign, 0},
		{"at the limit", longHead(maxHead), headComplete, maxHead},
		{"one byte too long", longHead(maxHead + 1), headTooLong, 0},
		{"too long without an end", longHead(maxHead + 9)[:maxHead+1], headTooLong, 0},
		{"at the limit without an end", longHead(maxHead + 9)[:maxHead], headPartial, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if v, size := judgeHead([]byte(tt.input), claimsWS); v != tt.want || size != tt.size {
				t.Errorf("verdict %d, size %d; want %d, %d", v, size, tt.want, tt.size)
			}
		})
	}
}

// checkPrefixes judges a head as it grows byte by byte: the first verdict
// stands, and claims is only ever asked about the whole, true target.
func checkPrefixes(t *testing.T, head []byte) {
	t.Helper()
	line, _, _ := bytes.Cut(head, []byte{'\n'})
	want, _ := requestTarget(line)
	claims := func(target []byte) bool {
		if !bytes.Equal(target, want) {
			t.Fatalf("asked about %q, the target is %q", target, want)
		}
		return claimsWS(target)
	}
	verdict, size := headPartial, 0
	for i := 0; i <= len(head); i++ {
		v, n := judgeHead(head[:i], claims)
		if verdict != headPartial && (v != verdict || n != size) {
			t.Fatalf("byte %d: verdict %d, size %d, after %d, %d", i, v, n, verdict, size)
		}
		if v == headComplete && (n > i || n > maxHead || !bytes.HasSuffix(head[:n], []byte("\r\n\r\n"))) {
			t.Fatalf("byte %d: a head of %d bytes", i, n)
		}
		if v == headPartial && i > maxHead {
			t.Fatalf("byte %d: still undecided", i)
		}
		verdict, size = v, n
	}
}

func TestJudgeHeadAtEveryPrefix(t *testing.T) {
	for _, head := range []string{
		goodHead + "tail", longHead(maxHead), longHead(maxHead + 1), longHead(maxHead + 4),
		"GET /ws HTTP/1.1\nHost: h\n\n", "GET /other HTTP/1.1\r\n\r\n",
	} {
		checkPrefixes(t, []byte(head))
	}
}

func TestReadRequest(t *testing.T) {
	with := func(lines string) string {
		return strings.Replace(goodHead, "Host: h\r\n", "Host: h\r\n"+lines, 1)
	}
	for _, tt := range []struct {
		name, head   string
		status       int // 0: passes
		host, origin string
	}{
		{"good", goodHead, 0, "h", ""},
		{"origin", with("oRiGiN: https://a.example \r\n"), 0, "h", "https://a.example"},
		{"no host", strings.Replace(goodHead, "Host: h\r\n", "", 1), 0, "", ""}, // ws.Upgrader refuses it
		{"two hosts", with("Host: i\r\n"), 400, "", ""},
		{"two keys", with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 400, "", ""},
		{"two origins", with("Origin: https://a.example\r\norigin: https://b.example\r\n"), 400, "", ""},
		{"two versions", with("sec-websocket-version: 13\r\n"), 400, "", ""},
		{"short key", strings.Replace(goodHead, "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ==", 1), 400, "", ""},
		{"key of 17 bytes", strings.Replace(goodHead, "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZWE=", 1), 400, "", ""},
		{"key that is not base64", strings.Replace(goodHead, "dGhl", "d*hl", 1), 400, "", ""},
		{"no colon", with("what\r\n"), 400, "", ""},
		{"no name", with(": what\r\n"), 400, "", ""},
		{"space before the colon", with("Origin : https://a.example\r\n"), 400, "", ""},
		{"folded line", with("X: a\r\n b\r\n"), 400, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r Request
			_, refusal := readRequest([]byte(tt.head), &r)
			if tt.status != 0 {
				if refusal == nil || refusal.Status != tt.status {
					t.Fatalf("refusal %v, want status %d", refusal, tt.status)
				}
				return
			}
			if refusal != nil {
				t.Fatalf("refused: %v", refusal)
			}
			if string(r.Target) != "/ws?token=a" || string(r.Host) != tt.host || string(r.Origin) != tt.origin {
				t.Errorf("target %q, host %q, origin %q", r.Target, r.Host, r.Origin)
			}
		})
	}
}

// A line feed alone ends a header line for ws.Upgrader. What it would take for
// a header, the judge must see too: else an Origin hides from the check.
func TestNothingHidesBehindABareLineFeed(t *testing.T) {
	head := strings.Replace(goodHead, "Host: h\r\n", "Host: h\r\nX: y\nOrigin: https://evil.example\r\n", 1)
	var r Request
	if _, refusal := readRequest([]byte(head), &r); refusal == nil && string(r.Origin) != "https://evil.example" {
		t.Errorf("passed with origin %q", r.Origin)
	}
}

func FuzzJudgeHead(f *testing.F) {
	for _, head := range []string{goodHead, strings.Replace(goodHead, "Upgrade: websocket", "upgrade: h2c, websocket\r\nconnection:", 1), "GET /ws HTTP/1.1\n\n", "\x00", "GET /health HTTP/1.1\r\n\r\n", longHead(300)} {
		f.Add([]byte(head))
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		checkPrefixes(t, head)
		v, size := judgeHead(head, claimsWS)
		if v != headComplete {
			return
		}
		var r Request
		odd, refusal := readRequest(head[:size], &r)
		if odd && refusal == nil {
			var again Request
			plain := plainUpgrade(head[:size])
			odd, refusal := readRequest(plain, &again)
			if odd || refusal != nil || !bytes.Equal(again.Target, r.Target) || !bytes.Equal(again.Host, r.Host) || !bytes.Equal(again.Origin, r.Origin) {
				t.Fatalf("made plain: %q is odd: %v, %v; %q, then %q", plain, odd, refusal, r, again)
			}
		}
		std, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head[:size])))
		if err != nil || refusal != nil {
			return
		}
		if std.RequestURI != string(r.Target) {
			t.Fatalf("target %q, net/http says %q", r.Target, std.RequestURI)
		}
		if o := std.Header.Get("Origin"); o != "" && r.Origin == nil {
			t.Fatalf("no origin, net/http says %q", o)
		}
	})
}
