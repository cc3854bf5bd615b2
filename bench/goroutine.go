package main

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// goroutineMode is the first argument of the child that is the well-known
// design of a relay in Go: net/http, gorilla/websocket, a goroutine a socket,
// a map under a mutex. It is what the relay's figures are compared with, so it
// is written as such relays are, and fairly: it writes a frame that is
// prepared once, holds no lock while it writes, and bounds each write.
const goroutineMode = "goroutine"

const (
	goroutineWrite = 10 * time.Second // deadline of a write; a client that is slower is closed
	goroutineBody  = 1 << 20          // bytes of a push
	goroutineRead  = 64 << 10         // bytes of a client's message
	smallBuffer    = 1 << 10          // bytes; the frames are small
)

// goroutineRelay holds the connections by token.
type goroutineRelay struct {
	upgrader websocket.Upgrader

	mu    sync.RWMutex
	users map[string]map[*goroutineConn]struct{} // "" has no token
}

// goroutineConn is one connection. Gorilla allows one writer at a time.
type goroutineConn struct {
	ws *websocket.Conn
	mu sync.Mutex
}

// goroutinePush is the body of a push.
type goroutinePush struct {
	Event   string          `json:"event_name"`
	Subject json.RawMessage `json:"subject"`
	Delay   int             `json:"delay_seconds"`
	Token   *string         `json:"token"`
}

type goroutineMessage struct {
	Event string        `json:"event"`
	Data  goroutineData `json:"data"`
}

type goroutineData struct {
	Subject json.RawMessage `json:"subject"`
	TS      int64           `json:"ts"`
	Token   *string         `json:"token"`
}

// serveGoroutines serves until standard input ends.
func serveGoroutines() error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	r := &goroutineRelay{
		upgrader: websocket.Upgrader{
			ReadBufferSize: smallBuffer, WriteBufferSize: smallBuffer, WriteBufferPool: &sync.Pool{},
			CheckOrigin: func(*http.Request) bool { return true },
		},
		users: make(map[string]map[*goroutineConn]struct{}),
	}
	mux := http.NewServeMux()
	mux.HandleFunc(wsPath, r.connect)
	mux.HandleFunc("POST "+pushPath, r.push)
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"status":"ok"}`) })
	s := &http.Server{Handler: mux, ReadHeaderTimeout: goroutineWrite}
	go func() { // ends the process: nothing is worth a wait here
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = s.Close()
	}()
	fmt.Printf("goroutine relay listening on http://%v\n", l.Addr())
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// connect is a client's whole life.
func (r *goroutineRelay) connect(w http.ResponseWriter, req *http.Request) {
	ws, err := r.upgrader.Upgrade(w, req, nil)
	if err != nil {
		return // Upgrade has answered
	}
	c := &goroutineConn{ws: ws}
	token := req.URL.Query().Get("token")
	r.mu.Lock()
	if r.users[token] == nil {
		r.users[token] = make(map[*goroutineConn]struct{})
	}
	r.users[token][c] = struct{}{}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.users[token], c)
		if len(r.users[token]) == 0 {
			delete(r.users, token)
		}
		r.mu.Unlock()
		_ = ws.Close()
	}()
	ws.SetReadLimit(goroutineRead)
	for {
		if _, _, err := ws.ReadMessage(); err != nil {
			return
		}
	}
}

// push takes a push from a backend.
func (r *goroutineRelay) push(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if subtle.ConstantTimeCompare([]byte(req.Header.Get("X-API-KEY")), []byte(apiKey)) != 1 {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"code":-1,"msg":"invalid api key"}`)
		return
	}
	var p goroutinePush
	if err := json.NewDecoder(http.MaxBytesReader(w, req.Body, goroutineBody)).Decode(&p); err != nil || p.Event == "" || p.Subject == nil {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"code":-1,"msg":"invalid json"}`)
		return
	}
	if p.Delay > 0 {
		time.AfterFunc(time.Duration(p.Delay)*time.Second, func() { r.deliver(p) })
	} else {
		r.deliver(p)
	}
	target := any(nil)
	if p.Token != nil {
		target = *p.Token
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"code": 0, "msg": "ok", "data": map[string]any{
		"event_name": p.Event, "delay_seconds": p.Delay, "target_user_id": target, "broadcast": p.Token == nil, "parsed_user_raw": p.Token,
	}})
}

// deliver writes to the connections of a token, or to all, one after another.
func (r *goroutineRelay) deliver(p goroutinePush) {
	text, err := json.Marshal(goroutineMessage{p.Event, goroutineData{p.Subject, time.Now().UnixMilli(), p.Token}})
	if err != nil {
		return // it was JSON when it came
	}
	frame, err := websocket.NewPreparedMessage(websocket.TextMessage, text)
	if err != nil {
		return // only for a type of message that does not exist
	}
	r.mu.RLock()
	var to []*goroutineConn
	if p.Token != nil {
		for c := range r.users[*p.Token] {
			to = append(to, c)
		}
	} else {
		for _, conns := range r.users {
			for c := range conns {
				to = append(to, c)
			}
		}
	}
	r.mu.RUnlock()
	for _, c := range to {
		c.write(frame)
	}
}

// write closes a connection that cannot be written to: its reader then cleans
// up.
func (c *goroutineConn) write(frame *websocket.PreparedMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.ws.SetWriteDeadline(time.Now().Add(goroutineWrite)) // an error shows in the write
	if err := c.ws.WritePreparedMessage(frame); err != nil {
		_ = c.ws.Close()
	}
}
