package relaytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"gorelay/internal/wsclient"
)

// PushPath is the push path of a relay with defaults.
const PushPath = "/api/push"

// Push is the body of a push, field by field. A nil RawMessage leaves the
// field out.
type Push struct {
	Event   string          `json:"event_name"`
	Subject json.RawMessage `json:"subject,omitempty"`
	Delay   int             `json:"delay_seconds,omitempty"`
	Token   json.RawMessage `json:"token,omitempty"`
}

// Body is the push as JSON, the raw fields exactly as they are.
func (p Push) Body() []byte {
	var b bytes.Buffer
	event, _ := json.Marshal(p.Event) // a string always encodes
	fmt.Fprintf(&b, `{"event_name":%s`, event)
	if p.Subject != nil {
		fmt.Fprintf(&b, `,"subject":%s`, p.Subject)
	}
	if p.Delay != 0 {
		fmt.Fprintf(&b, `,"delay_seconds":%d`, p.Delay)
	}
	if p.Token != nil {
		fmt.Fprintf(&b, `,"token":%s`, p.Token)
	}
	b.WriteString("}")
	return b.Bytes()
}

// Publisher is one HTTP client on one kept-alive connection. It never repeats
// a request by itself: what it did not get an answer to is unknown. For one
// goroutine.
type Publisher struct {
	Addr string
	Key  string
	conn *wsclient.Conn // nil when not connected
}

// Publisher returns a publisher with the relay's key; it is closed when the
// test ends.
func (r *Relay) Publisher(t testing.TB) *Publisher {
	p := &Publisher{Addr: r.Addr, Key: Key}
	t.Cleanup(p.Close)
	return p
}

// Push posts one body to the push path.
func (p *Publisher) Push(body []byte) (*wsclient.Response, error) {
	return p.Do("POST", PushPath, body, "X-API-KEY: "+p.Key, "Content-Type: application/json")
}

// Do sends one request and reads its answer. Lines are header lines; Host and
// Content-Length are there already. After an error the connection is gone,
// and the next request opens a new one.
func (p *Publisher) Do(method, target string, body []byte, lines ...string) (*wsclient.Response, error) {
	var head bytes.Buffer
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, target, p.Addr)
	if body != nil {
		fmt.Fprintf(&head, "Content-Length: %d\r\n", len(body))
	}
	for _, line := range lines {
		head.WriteString(line + "\r\n")
	}
	head.WriteString("\r\n")
	return p.Raw(append(head.Bytes(), body...))
}

// Raw sends a request that is written out already and reads its answer.
func (p *Publisher) Raw(request []byte) (*wsclient.Response, error) {
	if p.conn == nil {
		c, err := wsclient.Dialer{Addr: p.Addr}.DialRaw(nil)
		if err != nil {
			return nil, err
		}
		p.conn = c
	}
	// A server may answer before it has read everything, and close: then the
	// write fails, and yet there is an answer to read.
	werr := p.conn.Send(request)
	r, err := p.conn.ReadResponse()
	if err != nil {
		p.Close()
		if werr != nil {
			return nil, werr
		}
		return nil, err
	}
	if werr != nil || r.Close {
		p.Close()
	}
	return r, nil
}

// Close ends the publisher's connection, if there is one.
func (p *Publisher) Close() {
	if p.conn != nil {
		p.conn.Close()
		p.conn = nil
	}
}
