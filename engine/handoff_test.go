package engine

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// answering runs an HTTP server behind s that echoes method, path and body.
func (s *server) answering() {
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(s.HTTP()) // ends with srv.Close
	}()
	s.t.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
}

// What was read before the decision is the HTTP server's first bytes.
func TestHandOffLosesNothing(t *testing.T) {
	s := serve(t, scripted{}, nil)
	s.answering()
	request := "POST /api/push HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
	for cut := 0; cut <= len(request); cut += 7 {
		c := s.connect(0)
		s.write(c, []byte(request[:cut]))
		s.write(c, []byte(request[cut:]))
		answer, err := io.ReadAll(c)
		if err != nil || !strings.HasSuffix(string(answer), "POST /api/push hello") {
			t.Fatalf("cut at %d: %q, %v", cut, answer, err)
		}
	}
	await(t, "all are closed", func() bool { return s.Stats().HTTP == 0 })
	if n := s.pendingHandshakes(); n != 0 {
		t.Errorf("%d handshakes under way", n)
	}
}

// A handed-over connection keeps serving, and lives without the engine's
// descriptor.
func TestHandedConnectionStaysOpen(t *testing.T) {
	s := serve(t, scripted{}, nil)
	s.answering()
	client := &http.Client{Transport: new(http.Transport)}
	for range 3 {
		r, err := client.Get("http://" + s.addr + "/health")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if string(body) != "GET /health " {
			t.Fatalf("%q", body)
		}
	}
	if st := s.Stats(); st.HTTPConns != 1 || st.HTTP != 1 {
		t.Errorf("%d connections handed over, %d open", st.HTTPConns, st.HTTP)
	}
	client.CloseIdleConnections()
	await(t, "closed", func() bool { return s.Stats().HTTP == 0 })
}

func TestMaxHTTPConnsAnswers503(t *testing.T) {
	s := serve(t, scripted{}, func(o *Options) { o.MaxHTTPConns = 1 })
	first := s.connect(0)
	s.write(first, []byte("GET /health HTTP/1.1\r\n"))
	handed, err := s.HTTP().Accept()
	if err != nil {
		t.Fatal(err)
	}
	if r := s.answerTo("GET /health HTTP/1.1\r\nHost: h\r\n\r\n"); r.Status != 503 || r.Header.Get("Retry-After") == "" {
		t.Errorf("the second: %d", r.Status)
	}
	_ = handed.Close()
	_ = handed.Close() // counts once
	if n := s.Stats().HTTP; n != 0 {
		t.Errorf("%d connections counted", n)
	}
}

// Nobody serves HTTP any more: what still comes is closed.
func TestClosedHTTPListener(t *testing.T) {
	s := serve(t, scripted{}, nil)
	waiting := s.connect(0)
	s.write(waiting, []byte("GET /health HTTP/1.1\r\n"))
	await(t, "handed over", func() bool { return s.Stats().HTTPConns == 1 })
	if err := s.HTTP().Close(); err != nil {
		t.Fatal(err)
	}
	wantHangUp(t, waiting)
	if _, err := s.HTTP().Accept(); err != net.ErrClosed {
		t.Errorf("Accept: %v", err)
	}
	late := s.connect(0)
	s.write(late, []byte("GET /health HTTP/1.1\r\n"))
	wantHangUp(t, late)
	await(t, "none is open", func() bool { return s.Stats().HTTP == 0 })
}
