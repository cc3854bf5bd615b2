package test

import (
	"slices"
	"strings"
	"testing"

	"gorelay/internal/wsclient"
)

// goodLines is a handshake's head, line by line.
func goodLines() []string {
	return []string{
		"GET / HTTP/1.1", "Host: a.example", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Key: " + wsclient.Key, "Sec-WebSocket-Version: 13",
	}
}

// edit returns the good head with the line that starts with name replaced;
// an empty replacement takes it out, several lines may stand in one.
func edit(name, with string) string {
	lines := goodLines()
	for i, line := range lines {
		if strings.HasPrefix(line, name) {
			if with == "" {
				lines = slices.Delete(lines, i, i+1)
			} else {
				lines[i] = with
			}
			return head(lines...)
		}
	}
	panic("no line " + name)
}

func head(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

func with(extra ...string) string { return head(append(goodLines(), extra...)...) }

const otherKey = "AAAAAAAAAAAAAAAAAAAAAA=="

// handshakes are heads and the statuses that they may get.
var handshakes = []struct {
	name, head string
	statuses   []int
}{
	{"plain", with(), []int{101}},
	{"another key", edit("Sec-WebSocket-Key", "Sec-WebSocket-Key: "+otherKey), []int{101}},
	{"lower-case names", head("GET / HTTP/1.1", "host: a", "upgrade: websocket", "connection: upgrade", "sec-websocket-key: "+wsclient.Key, "sec-websocket-version: 13"), []int{101}},
	{"upper-case names", head("GET / HTTP/1.1", "HOST: a", "UPGRADE: websocket", "CONNECTION: Upgrade", "SEC-WEBSOCKET-KEY: "+wsclient.Key, "SEC-WEBSOCKET-VERSION: 13"), []int{101}},
	{"values in other case", head("GET / HTTP/1.1", "Host: a", "Upgrade: WebSocket", "Connection: upGRADE", "Sec-WebSocket-Key: "+wsclient.Key, "Sec-WebSocket-Version: 13"), []int{101}},
	{"connection list", edit("Connection", "Connection: keep-alive, Upgrade"), []int{101}},
	{"connection list without spaces", edit("Connection", "Connection: Upgrade,keep-alive"), []int{101}},
	{"no space behind the colon", head("GET / HTTP/1.1", "Host:a", "Upgrade:websocket", "Connection:Upgrade", "Sec-WebSocket-Key:"+wsclient.Key, "Sec-WebSocket-Version:13"), []int{101}},
	{"many spaces", edit("Upgrade", "Upgrade: \t websocket \t"), []int{101}},
	{"query", edit("GET", "GET /?a=b&c=%20 HTTP/1.1"), []int{101}},
	{"extension offered", with("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-webkit-deflate-frame"), []int{101}},
	{"protocol offered", with("Sec-WebSocket-Protocol: chat, superchat"), []int{101}},
	{"browser's head", with("Pragma: no-cache", "Cache-Control: no-cache", "User-Agent: Mozilla/5.0", "Origin: https://a.example", "Accept-Encoding: gzip", "Cookie: a=b; c=d"), []int{101}},
	{"headers of 7 KiB", with("Cookie: " + repeat("c", 7<<10)), []int{101}},

	{"POST", edit("GET", "POST / HTTP/1.1"), []int{400, 405}},
	{"method in lower case", edit("GET", "get / HTTP/1.1"), []int{400, 404, 405, 501}},
	{"HTTP/1.0", edit("GET", "GET / HTTP/1.0"), []int{400, 426, 505}},
	{"HTTP/2.0", edit("GET", "GET / HTTP/2.0"), []int{400, 426, 505}},
	{"HTTP/0.9", edit("GET", "GET / HTTP/0.9"), []int{400, 426, 505}},
	{"no version", edit("GET", "GET /"), []int{400}},
	{"no Host", edit("Host", ""), []int{400}},
	{"no Upgrade", edit("Upgrade", ""), []int{400, 426}},
	{"Upgrade to something else", edit("Upgrade", "Upgrade: h2c"), []int{400, 426}},
	{"empty Upgrade", edit("Upgrade", "Upgrade:"), []int{400, 426}},
	{"no Connection", edit("Connection", ""), []int{400, 426}},
	{"Connection without upgrade", edit("Connection", "Connection: keep-alive"), []int{400, 426}},
	{"Connection with a longer word", edit("Connection", "Connection: Upgrader"), []int{400, 426}},
	{"no Key", edit("Sec-WebSocket-Key", ""), []int{400}},
	{"empty Key", edit("Sec-WebSocket-Key", "Sec-WebSocket-Key:"), []int{400}},
	{"short Key", edit("Sec-WebSocket-Key", "Sec-WebSocket-Key: c2hvcnQ="), []int{400}},
	{"long Key", edit("Sec-WebSocket-Key", "Sec-WebSocket-Key: "+repeat("A", 30)+"=="), []int{400}},
	{"Key not base64", edit("Sec-WebSocket-Key", "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!=="), []int{400}},
	{"Key of 24 letters", edit("Sec-WebSocket-Key", "Sec-WebSocket-Key: "+repeat("A", 24)), []int{400}},
	{"two Keys", with("Sec-WebSocket-Key: " + otherKey), []int{400}},
	{"no Version", edit("Sec-WebSocket-Version", ""), []int{400, 426}},
	{"empty Version", edit("Sec-WebSocket-Version", "Sec-WebSocket-Version:"), []int{400, 426}},
	{"Version not a number", edit("Sec-WebSocket-Version", "Sec-WebSocket-Version: x"), []int{400, 426}},
	{"two Versions", with("Sec-WebSocket-Version: 8"), []int{400, 426}},
	// RFC 9112 section 5 leaves a choice for a few of these.
	{"line without a colon", with("nonsense"), []int{400}},
	{"space before the colon", with("X-Space : a"), []int{400}},
	{"empty name", with(": a"), []int{400}},
	{"zero byte", with("X-Zero: a\x00b"), []int{400, 101}},
	{"bare CR", with("X-CR: a\rb"), []int{400, 101}},
	{"folded line", with("X-Folded: a", " b"), []int{400, 101}},
	{"fold right behind the request line", "GET / HTTP/1.1\r\n folded\r\n" + strings.SplitN(with(), "\r\n", 2)[1], []int{400, 101}},
}

func TestHandshakes(t *testing.T) {
	e := startEcho(t)
	for _, row := range handshakes {
		t.Run(row.name, func(t *testing.T) {
			c, err := e.DialRaw([]byte(row.head))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			r, err := c.ReadResponse()
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(row.statuses, r.Status) {
				t.Fatalf("status %d %.100q, want %v", r.Status, r.Body, row.statuses)
			}
			if r.Status != 101 {
				return
			}
			for name, want := range map[string]string{
				"Upgrade": "websocket", "Connection": "upgrade", "Sec-Websocket-Extensions": "", "Sec-Websocket-Protocol": "",
			} {
				if got := r.Header.Get(name); !strings.EqualFold(got, want) {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if got, want := r.Header.Get("Sec-Websocket-Accept"), wsclient.AcceptFor(keyOf(row.head)); got != want {
				t.Errorf("Sec-WebSocket-Accept %q, want %q", got, want)
			}
			stillEchoes(t, c)
		})
	}
}

// keyOf finds the Sec-WebSocket-Key of a head.
func keyOf(head string) string {
	for line := range strings.SplitSeq(head, "\r\n") {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(name, "Sec-WebSocket-Key") {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// TestWrongVersion: RFC 6455 section 4.4.
func TestWrongVersion(t *testing.T) {
	e := startEcho(t)
	for _, version := range []string{"0", "8", "12", "14", "130"} {
		t.Run(version, func(t *testing.T) {
			c, err := e.DialRaw([]byte(edit("Sec-WebSocket-Version", "Sec-WebSocket-Version: "+version)))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			r, err := c.ReadResponse()
			if err != nil {
				t.Fatal(err)
			}
			if r.Status != 426 || r.Header.Get("Sec-Websocket-Version") != "13" {
				t.Errorf("status %d, Sec-WebSocket-Version %q, want 426 and 13", r.Status, r.Header.Get("Sec-Websocket-Version"))
			}
		})
	}
}

// TestHeadTooLarge: a head past 8 KiB is refused, ended or endless, whichever
// way it grows.
func TestHeadTooLarge(t *testing.T) {
	e := startEcho(t)
	for name, raw := range map[string]string{
		"one long header":    with("Cookie: " + repeat("c", 9<<10)),
		"many headers":       with(strings.Split(strings.TrimSpace(repeat("X-A: b\n", 2000)), "\n")...),
		"long target":        edit("GET", "GET /?"+repeat("a", 9<<10)+" HTTP/1.1"),
		"endless header":     strings.TrimSuffix(with("Cookie: "+repeat("c", 20<<10)), "\r\n\r\n"),
		"endless first line": "GET /?" + repeat("a", 20<<10),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := e.DialRaw(nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.Send([]byte(raw)) // the server need not read all of it
			r, err := c.ReadResponse()
			if err != nil {
				t.Fatal(err)
			}
			if r.Status != 431 && r.Status != 400 && r.Status != 414 {
				t.Errorf("status %d", r.Status)
			}
			if err := c.Discard(); err != nil {
				t.Errorf("the connection stays open: %v", err)
			}
		})
	}
}

// TestHandshakeSplitAtEveryByte cuts the head in two at each byte, with a
// message behind it.
func TestHandshakeSplitAtEveryByte(t *testing.T) {
	e := startEcho(t)
	wire := append(wsclient.Handshake("/", e.Addr), text("behind").Bytes()...)
	var conns []*wsclient.Conn
	for cut := 1; cut < len(wire); cut++ {
		c, err := e.DialRaw(wire[:cut])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	if err := wsclient.WaitTaken(conns...); err != nil {
		t.Fatal(err)
	}
	for i, c := range conns {
		if err := c.Send(wire[i+1:]); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range conns {
		if r, err := c.ReadResponse(); err != nil || r.Status != 101 {
			t.Fatalf("cut at %d: %+v %v", i+1, r, err)
		}
		wantFrame(t, c, wsclient.OpText, []byte("behind"))
	}
}
