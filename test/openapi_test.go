package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"gorelay/internal/relaytest"
	"gorelay/internal/wsclient"
)

// unprovoked are statuses that are described and that no test can provoke.
var unprovoked = map[string]string{
	"500": "a fault of the relay: a request that gives it is a bug to be fixed",
}

// surface provokes answers and judges them by the document.
type surface struct {
	*document
	relay *relaytest.Relay
	pub   *relaytest.Publisher
}

// The schemas of what a client gets and says. No operation has them.
const (
	schemaGets = "#/components/schemas/Message"
	schemaSays = "#/components/schemas/ClientMessage"
)

// TestOpenAPI provokes every answer that the document describes, and judges
// each by it. An answer that is not described fails.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{
		"max_push_bytes": 16 << 10, "allowed_origins": []string{"https://good.example"}, "max_delayed": 50,
	}})
	s := &surface{document: loadDocument(t), relay: r, pub: r.Publisher(t)}
	slow := s.beginSlowly(t)
	t.Run("examples", s.examplesAreAccepted)
	t.Run("pushes", s.pushes)
	t.Run("scheduled", s.scheduled)
	t.Run("connections", s.connections)
	t.Run("refused", s.refused)
	t.Run("key", s.keys)
	t.Run("other places", s.otherPlaces)
	t.Run("handshakes", s.handshakes)
	t.Run("full", s.full)
	t.Run("slow", func(t *testing.T) { s.endSlowly(t, slow) })
	for _, name := range s.answers() {
		_, status, _ := strings.Cut(name, " -> ")
		switch why := unprovoked[status]; {
		case s.seen[name] && why != "":
			t.Errorf("%s was provoked, although %s", name, why)
		case !s.seen[name] && why == "":
			t.Errorf("%s is described and was not provoked", name)
		}
	}
}

// ask sends a request and wants this status and an answer as described. What
// the relay accepts, the description of the request must allow. A target of ""
// is the path of the operation.
func (s *surface) ask(t *testing.T, operation, target, body string, status int, lines ...string) *wsclient.Response {
	t.Helper()
	method, path, _ := strings.Cut(operation, " ")
	if target == "" {
		target = path
	}
	r := call(t, s.pub, method, target, body, lines...)
	if r.Status != status {
		t.Errorf("%s %s %.200s: %d %.200s, want %d", method, target, body, r.Status, r.Body, status)
	}
	if err := s.check(operation, r); err != nil {
		t.Error(err)
	}
	schema := s.child(s.child(s.child(s.child(s.document.operation(operation), "requestBody"), "content"), "application/json"), "schema")
	if r.Status == 200 && schema.value != nil {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
		if err == nil {
			err = s.validate(schema, value)
		}
		if err != nil {
			t.Errorf("%s accepted %.200s: %v", operation, body, err)
		}
	}
	return r
}

// example is a request to an operation, made of the document's examples: for
// each of its bodies one, or one without a body.
func (s *surface) example(t *testing.T, operation string) (target string, bodies []string) {
	t.Helper()
	_, target, _ = strings.Cut(operation, " ")
	item := s.child(s.pointer("#/paths"), target)
	query := url.Values{}
	for _, parent := range []node{item, s.document.operation(operation)} {
		list, _ := s.child(parent, "parameters").value.([]any)
		for _, value := range list {
			p := node{value: value}
			example := fmt.Sprint(value.(map[string]any)["example"])
			switch {
			case p.text("in") == "path":
				target = strings.ReplaceAll(target, "{"+p.text("name")+"}", example)
			case p.text("in") == "query" && value.(map[string]any)["example"] != nil:
				query.Set(p.text("name"), example)
			}
		}
	}
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	content := s.child(s.child(s.child(s.document.operation(operation), "requestBody"), "content"), "application/json")
	for _, name := range s.child(content, "examples").names() {
		value, err := json.Marshal(s.child(s.child(content, "examples"), name).value.(map[string]any)["value"])
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, string(value))
	}
	if len(bodies) == 0 {
		if strings.HasPrefix(operation, "POST") {
			t.Fatalf("%s has no example of a body", operation)
		}
		bodies = []string{""}
	}
	return target, bodies
}

// guarded are the operations that need a key.
func (s *surface) guarded() []string {
	return slices.DeleteFunc(s.operations(), func(operation string) bool {
		_, open := s.document.operation(operation).value.(map[string]any)["security"]
		return open
	})
}

// examplesAreAccepted sends the examples as they stand. The id in them is no
// relay's.
func (s *surface) examplesAreAccepted(t *testing.T) {
	for _, operation := range s.guarded() {
		target, bodies := s.example(t, operation)
		for _, body := range bodies {
			status := 200
			if strings.Contains(operation, "{id}") {
				status = 404
			}
			s.ask(t, operation, target, body, status)
		}
	}
	s.ask(t, "GET /health", "", "", 200)
}

func (s *surface) pushes(t *testing.T) {
	c := s.relay.Dial(t, "/ws?token=a", "Origin: https://good.example")
	settle(t, c)
	for _, members := range [][]string{
		{toToken("a")},
		{toToken("a"), `"include_id":true`},
		{`"token":{"user_id":"a","more":[1]}`, `"delay_seconds":null`, `"deliver_at":null`, `"tokens":null`, `"include_id":null`, `"broadcast":null`},
		{`"tokens":["a","a",7]`},
		{`"broadcast":true`},
		{`"token":12345678901234567890`, inSeconds(anHour)},
		{`"deliver_at":4102444800000`, toToken("far")},
	} {
		status := 200
		if strings.Contains(members[0], "4102444800000") { // the year 2100: past max_delay
			status = 400
		}
		s.ask(t, "POST /api/push", "", body("e", members...), status)
	}
	for range 5 { // those of the five that reach it
		_, raw := readEnvelope(t, c)
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(raw))
		if err == nil {
			err = s.validate(s.pointer(schemaGets), value)
		}
		if err != nil {
			t.Errorf("message %s: %v", raw, err)
		}
	}
	for _, message := range []string{`{"event":"identify","data":{"token":"b"}}`, `{"type":"ping","ts":1}`} {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(message))
		if err == nil {
			err = s.validate(s.pointer(schemaSays), value)
		}
		if err != nil {
			t.Errorf("message %s: %v", message, err)
		}
	}

	for operation, text := range map[string]string{
		"POST /api/push":       body("e", toToken("b")),
		"POST /api/push/batch": `{"items":[` + body("e", toToken("b")) + `,5]}`,
	} {
		key := "Idempotency-Key: " + strings.ReplaceAll(operation, " ", "-")
		first := s.ask(t, operation, "", text, 200, key)
		again := s.ask(t, operation, "", text, 200, key)
		if !bytes.Equal(first.Body, again.Body) || first.Header.Get("Idempotency-Replayed") != "" || again.Header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s again: %v %s, first %v %s", operation, again.Header, again.Body, first.Header, first.Body)
		}
		s.ask(t, operation, "", text+" ", 409, key)
	}
}

func (s *surface) scheduled(t *testing.T) {
	id := pushed(t, s.pub, body("e", toToken("s"), inSeconds(anHour)))
	several := pushed(t, s.pub, body("e", `"tokens":["s",7]`, inSeconds(anHour)))
	pushed(t, s.pub, body("e", inSeconds(anHour)))
	for _, one := range []string{id, several, strings.ToUpper(id)} {
		s.ask(t, "GET /api/push/{id}", "/api/push/"+one, "", 200)
	}
	for _, query := range []string{"?status=scheduled", "?limit=1", "?token=s&limit=1000", "?token=nobody"} {
		s.ask(t, "GET /api/push", "/api/push"+query, "", 200)
	}
	s.ask(t, "DELETE /api/push/{id}", "/api/push/"+id, "", 200)
	for _, operation := range []string{"DELETE /api/push/{id}", "GET /api/push/{id}"} {
		s.ask(t, operation, "/api/push/"+id, "", 404)
		s.ask(t, operation, "/api/push/no-id", "", 404)
	}
	s.ask(t, "DELETE /api/push/{id}", "/api/push/"+pushed(t, s.pub, body("e", toToken("s"))), "", 409)
}

func (s *surface) connections(t *testing.T) {
	c := s.relay.Dial(t, "/ws?token=here")
	settle(t, c)
	s.ask(t, "GET /api/push/online", "/api/push/online?token=here", "", 200)
	s.ask(t, "POST /api/push/online", "", `{"tokens":["here",1e3]}`, 200)
	s.ask(t, "POST /api/push/disconnect", "", `{"token":"here","code":4000,"reason":"ü"}`, 200)
	wantClose(t, c, 4000)
}

func (s *surface) refused(t *testing.T) {
	fill := `{"event_name":"e","subject":` + quote(repeat("f", 20<<10)) + `}`
	for _, row := range []struct {
		operation, target, body string
		status                  int
	}{
		{"POST /api/push", "", `{}`, 400},
		{"POST /api/push", "", `nonsense`, 400},
		{"POST /api/push/batch", "", `{"items":[]}`, 400},
		{"GET /api/push", "", "", 405},
		{"GET /api/push", "/api/push?status=fired", "", 400},
		{"GET /api/push", "/api/push?limit=1001", "", 400},
		{"GET /api/push", "/api/push?cursor=nonsense", "", 400},
		{"GET /api/push/online", "/api/push/online", "", 400},
		{"POST /api/push/online", "", `{"tokens":[]}`, 400},
		{"POST /api/push/disconnect", "", `{"token":null}`, 400},
		{"POST /api/push", "", fill, 413},
		{"POST /api/push/batch", "", fill, 413},
		{"POST /api/push/online", "", fill, 413},
		{"POST /api/push/disconnect", "", fill, 413},
	} {
		s.ask(t, row.operation, row.target, row.body, row.status)
	}
	s.ask(t, "POST /api/push", "", body("e"), 400, "Idempotency-Key: "+repeat("k", 129))
	for _, operation := range s.operations() {
		if operation != "GET /ws" {
			target, bodies := s.example(t, operation)
			s.ask(t, operation, target, bodies[0], 431, "X-Long: "+repeat("l", 9<<10))
		}
	}
	for n := 0; ; n++ {
		if r := call(t, s.pub, "POST", "/api/push", body("e", inSeconds(anHour))); r.Status == 503 {
			break
		} else if n > 50 {
			t.Fatalf("more than max_delayed were accepted: %d %s", r.Status, r.Body)
		}
	}
	s.ask(t, "POST /api/push", "", body("e", inSeconds(anHour)), 503)
	s.ask(t, "POST /api/push/batch", "", `{"items":[`+body("e", inSeconds(anHour))+`]}`, 503)
}

// otherPlaces tries other methods at every path, and other paths.
func (s *surface) otherPlaces(t *testing.T) {
	operations := s.operations()
	paths := s.pointer("#/paths")
	for _, path := range paths.names() {
		target, _ := s.example(t, operations[slices.IndexFunc(operations, func(o string) bool { return strings.HasSuffix(o, " "+path) })])
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} {
			if slices.Contains(operations, method+" "+path) {
				continue
			}
			lines := []string{"X-API-KEY: " + relaytest.Key}
			if path == "/ws" {
				lines = strings.Split(strings.TrimSpace(string(wsclient.Handshake("/ws", "a"))), "\r\n")[2:]
			}
			r, err := s.pub.Do(method, target, nil, lines...)
			if err != nil {
				t.Fatal(err)
			}
			if r.Status != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d, want 405", method, target, r.Status)
			}
			if err := s.checkAnswer(s.child(s.child(paths, path), otherMethods), r, r.Header); err != nil {
				t.Errorf("%s %s: %v", method, target, err)
			}
		}
	}
	for _, target := range []string{"/", "/api", "/api/push/", "/api/push/batch/", "/api/push/a/b", "/health/"} {
		r := call(t, s.pub, "GET", target, "")
		if r.Status != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", target, r.Status)
		}
		if err := s.checkAnswer(s.pointer("#/"+unknownPath), r, r.Header); err != nil {
			t.Errorf("%s: %v", target, err)
		}
	}
}
