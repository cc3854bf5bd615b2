package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"testing"

	"gorelay/internal/relaytest"
	"gorelay/internal/wsclient"
)

func TestHealth(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	for range 3 { // on one kept-alive connection
		answer, err := p.Do("GET", "/health", nil)
		if err != nil {
			t.Fatal(err)
		}
		wantJSON(t, answer)
		if answer.Status != 200 || string(answer.Body) != `{"status":"ok"}` {
			t.Fatalf("got %d %q", answer.Status, answer.Body)
		}
	}
}

func TestNotFound(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	for _, target := range []string{"/", "/nope", "/api", "/api/push/", "/api/pushx", "/wsx", "/ws/", "/health/", "/HEALTH", "/favicon.ico", "/%77s/..", "//ws", "/?ws", "/x?a=/ws", "/nope?api_key=" + relaytest.Key} {
		for _, method := range []string{"GET", "POST"} {
			t.Run(method+" "+target, func(t *testing.T) {
				answer, err := p.Do(method, target, nil)
				if err != nil {
					t.Fatal(err)
				}
				wantJSON(t, answer)
				if answer.Status != 404 || !json.Valid(answer.Body) {
					t.Errorf("got %d %q, want 404 and JSON", answer.Status, answer.Body)
				}
			})
		}
	}
	// A handshake elsewhere is not found either.
	_, err := wsclient.Dialer{Addr: r.Addr}.Dial("/elsewhere")
	var refused *wsclient.RefusedError
	if !errors.As(err, &refused) || refused.Response.Status != 404 {
		t.Errorf("handshake elsewhere: %v, want 404", err)
	}
}

// TestOnePort uses every part of the relay on one TCP connection or port, in
// whatever pieces the requests arrive.
func TestOnePort(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"ws_path": "/live/socket", "push_path": "/hooks/send"}})
	c := r.Dial(t, "/live/socket?token=a")
	settle(t, c)
	body := `{"event_name":"e%d","subject":1,"token":"a"}`
	request := func(n int) []byte {
		b := fmt.Sprintf(body, n)
		return fmt.Appendf(nil, "POST /hooks/send HTTP/1.1\r\nHost: a\r\nX-API-KEY: %s\r\nContent-Length: %d\r\n\r\n%s", relaytest.Key, len(b), b)
	}
	t.Run("byte by byte", func(t *testing.T) {
		conn, err := wsclient.Dialer{Addr: r.Addr}.DialRaw(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SendSlowly(request(1)); err != nil {
			t.Fatal(err)
		}
		if answer, err := conn.ReadResponse(); err != nil || answer.Status != 200 {
			t.Fatalf("got %+v %v", answer, err)
		}
		wantEvent(t, c, "e1")
	})
	t.Run("pipelined", func(t *testing.T) {
		conn, err := wsclient.Dialer{Addr: r.Addr}.DialRaw(append(append(request(2), request(3)...), request(4)...))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for n := 2; n <= 4; n++ {
			if answer, err := conn.ReadResponse(); err != nil || answer.Status != 200 {
				t.Fatalf("got %+v %v", answer, err)
			}
			wantEvent(t, c, fmt.Sprintf("e%d", n))
		}
	})
	t.Run("default paths are gone", func(t *testing.T) {
		for _, target := range []string{"/ws", "/api/push"} {
			answer, err := r.Publisher(t).Do("POST", target, []byte(`{}`), "X-API-KEY: "+relaytest.Key)
			if err != nil || answer.Status != 404 {
				t.Errorf("%s: %+v %v, want 404", target, answer, err)
			}
		}
	})
}

// TestHandshakeOnUsedConnection upgrades a connection that has served HTTP, as
// a proxy with a pool of connections does.
func TestHandshakeOnUsedConnection(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	health := "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
	c, err := wsclient.Dialer{Addr: r.Addr}.DialRaw([]byte(health))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if answer, err := c.ReadResponse(); err != nil || answer.Status != 200 {
		t.Fatalf("health: %+v %v", answer, err)
	}
	if err := c.Send(wsclient.Handshake("/ws?token=used", r.Addr)); err != nil {
		t.Fatal(err)
	}
	if answer, err := c.ReadResponse(); err != nil || answer.Status != 101 {
		t.Fatalf("handshake: %+v %v, want 101", answer, err)
	}
	settle(t, c)
	push(t, r.Publisher(t), `{"event_name":"mine","subject":1,"token":"used"}`)
	wantEvent(t, c, "mine")
}

// TestBothFamilies: "localhost" may be either address.
func TestBothFamilies(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			if ln, err := net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
				t.Skipf("this machine has no %s: %v", host, err)
			} else {
				ln.Close()
			}
			addr := net.JoinHostPort(host, r.Port)
			c, err := wsclient.Dialer{Addr: addr}.Dial("/ws?token=" + url.QueryEscape(host))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			settle(t, c)
			p := &relaytest.Publisher{Addr: addr, Key: relaytest.Key}
			defer p.Close()
			push(t, p, `{"event_name":"mine","subject":1,"token":`+quote(host)+`}`)
			wantEvent(t, c, "mine")
		})
	}
}

func TestOrigins(t *testing.T) {
	restricted := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"allowed_origins": []string{"https://good.example", "http://localhost:8080"}}})
	open := relaytest.StartRelay(t, relaytest.Setup{})
	for _, row := range []struct {
		origin string
		ok     bool
	}{
		{"https://good.example", true},
		{"http://localhost:8080", true},
		{"https://evil.example", false},
		{"http://good.example", false},
		{"https://good.example.evil.example", false},
		{"https://good.example:444", false},
		{"https://sub.good.example", false},
		{"http://localhost", false},
		{"null", false},
	} {
		t.Run(row.origin, func(t *testing.T) {
			settle(t, open.Dial(t, "/ws", "Origin: "+row.origin))
			c, err := wsclient.Dialer{Addr: restricted.Addr}.Dial("/ws?token=a", "Origin: "+row.origin)
			if row.ok {
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				settle(t, c)
				return
			}
			var refused *wsclient.RefusedError
			if !errors.As(err, &refused) || refused.Response.Status != 403 {
				t.Fatalf("got %v, want 403", err)
			}
		})
	}
}
