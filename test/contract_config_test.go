package test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gorelay/internal/relaytest"
	"gorelay/internal/wsclient"
)

// defaultKey is the well-known key of a relay that nobody has configured.
const defaultKey = "U2FsdGVkX18ucQzBA+ozhc3ySrVZ"

func wantRetryAfter(t *testing.T, r *wsclient.Response) {
	t.Helper()
	if n, err := strconv.Atoi(r.Header.Get("Retry-After")); err != nil || n < 0 {
		t.Errorf("Retry-After %q, want seconds", r.Header.Get("Retry-After"))
	}
}

func TestFirstStart(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{NoFile: true, Env: []string{"PORT=0"}})
	r.Secret(defaultKey)
	file := filepath.Join(r.Dir, "config.json")
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("config.json has mode %v", info.Mode())
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(written, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"port": "0", "api_key": defaultKey, "ws_path": "/ws", "push_path": "/api/push"}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s = %v, want %v", k, got[k], v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("config.json has %d keys, want %d: %v", len(got), len(want), got)
	}
	for _, line := range []string{
		"Go Relay server listening on http://localhost:" + r.Port, "WebSocket path = /ws", "Push API path = /api/push", "api_key",
	} {
		if !strings.Contains(r.Log(), line) {
			t.Errorf("no %q in the log:\n%s", line, r.Log())
		}
	}
	p := r.Publisher(t)
	p.Key = defaultKey
	push(t, p, `{"event_name":"e","subject":1}`)
}

func TestFileGoesBeforeEnvironment(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{
		File: []byte(`{"port":0,"api_key":"from-file","unheard_of":1,"ws_path":""}`),
		Env:  []string{"RELAY_API_KEY=from-environment", "WS_PATH=/env/ws", "PUSH_PATH=/env/push", "PORT=1"},
	})
	r.Secret("from-file", "from-environment")
	p := r.Publisher(t)
	for key, status := range map[string]int{"from-file": 200, "from-environment": 401} {
		answer, err := p.Do("POST", "/env/push", []byte(`{"event_name":"e","subject":1}`), "X-API-KEY: "+key)
		if err != nil || answer.Status != status {
			t.Errorf("%s: %+v %v, want %d", key, answer, err, status)
		}
	}
	for _, name := range []string{"unheard_of", "RELAY_API_KEY", "PORT"} {
		if !strings.Contains(r.Log(), name) {
			t.Errorf("%s is not named in the log:\n%s", name, r.Log())
		}
	}
}

func TestBrokenFileIsKept(t *testing.T) {
	broken := []byte(`{"port":"3000", "api_key":"precious-secret",`)
	r := relaytest.StartRelay(t, relaytest.Setup{File: broken, Env: []string{"PORT=0"}})
	r.Secret(defaultKey, "precious-secret")
	entries, err := os.ReadDir(r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	kept := false
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(r.Dir, e.Name()))
		if err != nil {
			continue // a folder of the relay's data
		}
		if e.Name() == "config.json" {
			if !json.Valid(b) {
				t.Errorf("the new config.json is not valid: %s", b)
			}
			continue
		}
		if bytes.Equal(b, broken) {
			kept = true
			if info, err := e.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
				t.Errorf("others may read %s: %v", e.Name(), info.Mode())
			}
		}
	}
	if !kept {
		t.Errorf("the broken file is lost: %v", entries)
	}
}

func TestImpossibleConfig(t *testing.T) {
	for _, row := range []struct {
		key, file string
	}{
		{"max_push_bytes", `{"port":"0","max_push_bytes":-1}`},
		{"max_pending_bytes", `{"port":"0","max_pending_bytes":"many"}`},
		{"ping_interval", `{"port":"0","ping_interval":"soon"}`},
		{"handshake_timeout", `{"port":"0","handshake_timeout":"-1s"}`},
		{"path", `{"port":"0","ws_path":"/same","push_path":"/same"}`},
		{"ws_path", `{"port":"0","ws_path":"no-slash"}`},
		{"port", `{"port":"70000"}`},
		{"port", `{"port":"http"}`},
	} {
		t.Run(row.file, func(t *testing.T) {
			code, log := relaytest.RunRelay(t, relaytest.Setup{File: []byte(row.file)})
			if code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			if !strings.Contains(log, row.key) || strings.Count(log, "goroutine ") > 0 {
				t.Errorf("the log does not name %s in one line:\n%s", row.key, log)
			}
		})
	}
}
