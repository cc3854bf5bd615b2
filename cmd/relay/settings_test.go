package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// find returns the setting of a key.
func find(t *testing.T, key string) *setting {
	t.Helper()
	all := settings()
	i := slices.IndexFunc(all, func(s setting) bool { return s.key == key })
	if i < 0 {
		t.Fatalf("no setting %q", key)
	}
	return &all[i]
}

func TestSettingsTableIsConsistent(t *testing.T) {
	fixed := map[string]string{"port": "PORT", "api_key": "RELAY_API_KEY", "ws_path": "WS_PATH", "push_path": "PUSH_PATH"}
	def := Default()
	seen := map[string]bool{}
	for _, s := range settings() {
		want := fixed[s.key]
		if want == "" {
			want = "RELAY_" + strings.ToUpper(s.key)
		}
		if s.env != want || s.basic != (fixed[s.key] != "") {
			t.Errorf("%s: environment %s, basic %v", s.key, s.env, s.basic)
		}
		if seen[s.key] || s.help == "" || s.allowed() == "" {
			t.Errorf("%s: listed twice, or without help or allowed values", s.key)
		}
		seen[s.key] = true
		var c Config
		if text := s.text(&def); text != "" && (!s.set(&c, text) || s.text(&c) != text) {
			t.Errorf("%s: its own default %q does not survive a round trip", s.key, text)
		}
	}
	if len(seen) != 31 {
		t.Errorf("%d settings: %v", len(seen), seen)
	}
}

func TestValues(t *testing.T) {
	for _, tc := range []struct {
		key, text string
		want      any // nil: refused
	}{
		{"port", "0", 0}, {"port", "1", 1}, {"port", "65535", 65535}, {"port", " 3000 ", 3000}, {"port", "3e3", 3000}, {"port", "3000.0", 3000},
		{"port", "65536", nil}, {"port", "-1", nil}, {"port", "http", nil}, {"port", "3000.5", nil}, {"port", "0x10", nil}, {"port", "NaN", nil}, {"port", "Inf", nil}, {"port", "1e400", nil},
		{"api_key", "any thing/é", "any thing/é"},
		{"ws_path", "/", "/"}, {"ws_path", "/a/b.c~d%20é", "/a/b.c~d%20é"},
		{"ws_path", "ws", nil}, {"ws_path", "/a?b", nil}, {"ws_path", "/a#b", nil}, {"ws_path", "/a b", nil}, {"ws_path", "/a\x7f", nil}, {"ws_path", "/a\n", nil}, {"push_path", "/health", nil},
		{"host", "127.0.0.1", "127.0.0.1"}, {"host", "[::1]", "::1"}, {"host", "::", "::"}, {"host", "relay.internal", "relay.internal"},
		{"host", "127.0.0.1:80", nil}, {"host", "[::1", nil}, {"host", "http://x", nil}, {"host", " ", nil},
		{"max_connections", "0", 0}, {"max_connections", "1000000", 1000000}, {"max_connections", "-1", nil},
		{"max_handshakes", "1", 1}, {"max_handshakes", "0", nil},
		{"max_push_bytes", "1", 1}, {"max_push_bytes", "0", nil}, {"max_push_bytes", "-5", nil}, {"max_push_bytes", "1MiB", nil}, {"max_push_bytes", "1.5", nil},
		{"max_pending_bytes", "10", 10}, // smaller than max_push_bytes: fine
		{"max_message_rate", "0", 0}, {"max_delayed", "0", nil},
		{"max_total_pending_bytes", "5000000000", int64(5000000000)}, {"max_total_pending_bytes", "99999999999999999999", nil},
		{"ping_interval", "25s", 25 * time.Second}, {"ping_interval", "0", time.Duration(0)}, {"ping_interval", "0s", time.Duration(0)}, {"ping_interval", "1m30s", 90 * time.Second},
		{"ping_interval", "25", nil}, {"ping_interval", "-1s", nil}, {"ping_interval", "1ns", nil}, {"ping_interval", "48h", nil},
		{"pong_timeout", "0s", nil}, {"write_timeout", "1ms", time.Millisecond}, {"max_delay", "8760h", 8760 * time.Hour},
		{"loops", "0", 0}, {"loops", "4096", nil}, {"shards", "1", 1},
		{"log_level", "WARN", "warn"}, {"log_level", "loud", nil}, {"log_format", "json", "json"}, {"log_format", "xml", nil},
		{"allowed_origins", "*", []string{"*"}}, {"allowed_origins", " https://a.example , http://b:8080,", []string{"https://a.example", "http://b:8080"}}, {"allowed_origins", "null", []string{"null"}},
		{"allowed_origins", "a.example", nil}, {"allowed_origins", "https://a.example/path", nil}, {"allowed_origins", ",", nil}, {"allowed_origins", "https://", nil}, {"allowed_origins", "https://*.example.com", nil}, {"allowed_origins", "https://a.example,*", []string{"https://a.example", "*"}},
	} {
		s := find(t, tc.key)
		c := Default()
		before := s.text(&c)
		if got := s.set(&c, tc.text); got != (tc.want != nil) {
			t.Errorf("%s = %q: accepted %v", tc.key, tc.text, got)
			continue
		}
		if tc.want == nil {
			if s.text(&c) != before {
				t.Errorf("%s = %q was refused and changed to %s", tc.key, tc.text, s.text(&c))
			}
			continue
		}
		got, _ := json.Marshal(s.field(&c))
		want, _ := json.Marshal(tc.want)
		if string(got) != string(want) {
			t.Errorf("%s = %q: got %s, want %s", tc.key, tc.text, got, want)
		}
	}
}

func TestJSONTypes(t *testing.T) {
	const refused = "\x00"
	for _, tc := range []struct{ key, raw, want string }{
		{"port", `3000`, "3000"}, {"port", `"3000"`, "3000"}, {"port", `""`, ""}, {"port", `null`, ""}, {"port", `true`, refused}, {"port", `[3000]`, refused}, {"port", `{}`, refused},
		{"api_key", `"k"`, "k"}, {"api_key", `5`, refused},
		{"ws_path", `"/w\u0073"`, "/ws"}, {"ws_path", `1`, refused},
		{"max_push_bytes", `1048576`, "1048576"}, {"max_push_bytes", `"1048576"`, "1048576"}, {"max_push_bytes", `false`, refused},
		{"ping_interval", `"25s"`, "25s"}, {"ping_interval", `0`, "0"}, {"ping_interval", `25`, refused},
		{"allowed_origins", `["https://a","https://b"]`, "https://a,https://b"}, {"allowed_origins", `"*"`, "*"}, {"allowed_origins", `[]`, ""}, {"allowed_origins", `[1]`, refused}, {"allowed_origins", `["*",null]`, refused},
	} {
		text, ok := find(t, tc.key).fromJSON(json.RawMessage(tc.raw))
		if !ok {
			text = refused
		}
		if text != tc.want {
			t.Errorf("%s: %s gives %q, want %q", tc.key, tc.raw, text, tc.want)
		}
	}
}

func TestShortDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 25 * time.Second: "25s", time.Minute: "1m", 90 * time.Second: "1m30s",
		time.Hour: "1h", time.Hour + time.Second: "1h0m1s", 10 * time.Minute: "10m", 876000 * time.Hour: "876000h",
	} {
		if got := shortDuration(d); got != want {
			t.Errorf("%d: %s, want %s", d, got, want)
		}
	}
}
