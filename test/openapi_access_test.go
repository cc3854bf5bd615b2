package test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"gorelay/internal/relaytest"
	"gorelay/internal/wsclient"
)

// keys tries each operation without the key and with each way to give it.
func (s *surface) keys(t *testing.T) {
	schemes := s.pointer("#/components/securitySchemes")
	for _, operation := range s.guarded() {
		method, _, _ := strings.Cut(operation, " ")
		target, bodies := s.example(t, operation)
		send := func(target string, lines ...string) *wsclient.Response {
			r, err := s.pub.Do(method, target, []byte(bodies[0]), lines...)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.check(operation, r); err != nil {
				t.Error(err)
			}
			return r
		}
		if r := send(target); r.Status != 401 {
			t.Errorf("%s without a key: %d", operation, r.Status)
		}
		for _, scheme := range schemes.names() {
			name := s.child(schemes, scheme).text("name")
			var r *wsclient.Response
			if s.child(schemes, scheme).text("in") == "query" {
				separator := "?"
				if strings.Contains(target, "?") {
					separator = "&"
				}
				r = send(target + separator + name + "=" + url.QueryEscape(relaytest.Key))
			} else {
				r = send(target, name+": "+relaytest.Key)
			}
			if r.Status == 401 {
				t.Errorf("%s with the key as %s: 401", operation, scheme)
			}
		}
	}
}

// handshakes provokes the answers to a WebSocket handshake.
func (s *surface) handshakes(t *testing.T) {
	const operation = "GET /ws"
	one := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"max_connections": 1}})
	settle(t, one.Dial(t, "/ws"))
	head := func(lines ...string) string { return string(wsclient.Handshake("/ws?token=a", "a", lines...)) }
	for _, row := range []struct {
		addr, head string
		status     int
	}{
		{s.relay.Addr, head(), 101},
		{s.relay.Addr, strings.Replace(head(), "Upgrade: websocket\r\n", "", 1), 400},
		{s.relay.Addr, head("Origin: https://evil.example"), 403},
		{s.relay.Addr, strings.Replace(head(), "Version: 13", "Version: 8", 1), 426},
		{s.relay.Addr, head("X-Long: " + repeat("l", 9<<10)), 431},
		{one.Addr, head(), 503},
	} {
		c, err := wsclient.Dialer{Addr: row.addr}.DialRaw([]byte(row.head))
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.ReadResponse()
		c.Close()
		if err != nil {
			t.Fatal(err)
		}
		if r.Status != row.status {
			t.Errorf("handshake: %d %s, want %d", r.Status, r.Body, row.status)
		}
		if err := s.check(operation, r); err != nil {
			t.Error(err)
		}
	}
}

// full asks everything of a relay whose HTTP connections are all taken.
func (s *surface) full(t *testing.T) {
	const descriptors, connections = 128, 128 / 16
	r := relaytest.StartRelay(t, relaytest.Setup{Descriptors: descriptors})
	for range connections {
		call(t, r.Publisher(t), "GET", onlinePath+"?token=a", "") // has shown its key and stays
	}
	there := &surface{document: s.document, relay: r, pub: r.Publisher(t)}
	for _, operation := range s.operations() {
		if operation == "GET /ws" {
			continue // no HTTP connection
		}
		target, bodies := s.example(t, operation)
		there.ask(t, operation, target, bodies[0], 503)
	}
}

// beginSlowly sends half a request for each operation that takes a body.
func (s *surface) beginSlowly(t *testing.T) map[string]*wsclient.Conn {
	t.Helper()
	slow := make(map[string]*wsclient.Conn)
	for _, operation := range s.operations() {
		if s.child(s.document.operation(operation), "requestBody").value == nil {
			continue
		}
		c, err := wsclient.Dialer{Addr: s.relay.Addr, Timeout: relaytest.Patience}.DialRaw(
			fmt.Appendf(nil, "%s HTTP/1.1\r\nHost: a\r\nX-API-KEY: %s\r\nContent-Length: 10\r\n\r\n{", operation, relaytest.Key))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		slow[operation] = c
	}
	return slow
}

// endSlowly waits for the answers, which come after the relay's time limit.
func (s *surface) endSlowly(t *testing.T, slow map[string]*wsclient.Conn) {
	for operation, c := range slow {
		r, err := c.ReadResponse()
		if err != nil {
			t.Fatalf("%s: %v", operation, err)
		}
		if r.Status != 408 {
			t.Errorf("%s: %d %s, want 408", operation, r.Status, r.Body)
		}
		if err := s.check(operation, r); err != nil {
			t.Error(err)
		}
	}
}
