package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// runIn runs the program in this process, with a config file of its own.
func runIn(t *testing.T, config string, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err strings.Builder
	code = run(append([]string{"-config", config}, args...), environ, &out, &err)
	return code, out.String(), err.String()
}

func TestFlagMistakesAreOneLine(t *testing.T) {
	for _, args := range [][]string{{"-nope"}, {"-check=maybe"}, {"-config"}, {"-config", ""}, {"serve"}, {"-check", "now"}, {"--", "x"}} {
		var out, err strings.Builder
		code := run(args, nil, &out, &err)
		if code != exitFailed || out.String() != "" || strings.Count(err.String(), "\n") != 1 || !strings.Contains(err.String(), "relay -h") {
			t.Errorf("%q: exit %d, %q, %q", args, code, out.String(), err.String())
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, arg := range []string{"-h", "-help", "--help"} {
		var out, err strings.Builder
		if code := run([]string{arg}, nil, &out, &err); code != exitOK || err.String() != "" {
			t.Errorf("%s: exit %d, %q", arg, code, err.String())
		}
		for _, s := range settings() {
			if !strings.Contains(out.String(), "  "+s.key+" ") || !strings.Contains(out.String(), s.help) {
				t.Errorf("%s lacks %s", arg, s.key)
			}
		}
		if !strings.Contains(out.String(), "curl http://localhost:3000/api/push") {
			t.Errorf("%s has no example", arg)
		}
	}
	var out, err strings.Builder
	if code := run([]string{"-version"}, nil, &out, &err); code != exitOK || strings.Count(out.String(), "\n") != 1 || !strings.Contains(out.String(), "commit ") {
		t.Errorf("-version: exit %d, %q", code, out.String())
	}
}

func TestCheckShowsEverySettingAndItsSource(t *testing.T) {
	path := put(t, `{"port":4003,"api_key":"geheim","max_connections":1}`)
	code, out, log := runIn(t, path, []string{"RELAY_PING_INTERVAL=1m", "RELAY_HOST=127.0.0.1"}, "-check")
	if code != exitOK || log != "" {
		t.Errorf("exit %d, %q", code, log)
	}
	rows := map[string][]string{}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) >= 3 {
			rows[f[0]] = f[1:]
		}
	}
	for _, s := range settings() {
		if rows[s.key] == nil {
			t.Errorf("%s is missing", s.key)
		}
	}
	for key, want := range map[string]string{
		"port": "4003 config.json", "api_key": "******** config.json", "max_connections": "1 config.json",
		"ping_interval": "1m environment", "host": "127.0.0.1 environment", "ws_path": "/ws default",
	} {
		if got := strings.Join(rows[key], " "); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	for _, key := range []string{"loops", "shards", "max_total_pending_bytes"} {
		if row := rows[key]; len(row) != 4 || row[0] != "0" || row[1] != "(here" || row[2] == "0)" || row[3] != "default" {
			t.Errorf("%s is not derived: %q", key, row)
		}
	}
	if strings.Contains(out, "geheim") {
		t.Errorf("the key is shown:\n%s", out)
	}
}

func TestCheckOfWhatCannotRun(t *testing.T) {
	code, out, log := runIn(t, put(t, `{"port":70000}`), nil, "-check")
	if code != exitFailed || out != "" || strings.Count(log, "\n") != 1 {
		t.Errorf("impossible: exit %d, %q, %q", code, out, log)
	}
	// A start would go on with the defaults; a check is there to find it.
	code, out, log = runIn(t, put(t, `{"port":`), nil, "-check")
	if code != exitFailed || !strings.Contains(out, "default") || !strings.Contains(log, "not valid JSON in line 1") {
		t.Errorf("broken: exit %d, %q, %q", code, out, log)
	}
	code, _, log = runIn(t, filepath.Join(t.TempDir(), "config.json"), nil, "-check")
	if code != exitOK || !strings.Contains(log, "a start writes one") {
		t.Errorf("missing: exit %d, %q", code, log)
	}
}

// The settings table is the source of the documents: every key and every
// variable stands in both, as code.
func TestReadmesNameEverySetting(t *testing.T) {
	for _, name := range []string{"README.md", "README.zh-CN.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, s := range settings() {
			for _, word := range []string{s.key, s.env} {
				if !strings.Contains(string(text), "`"+word+"`") {
					t.Errorf("%s does not name `%s`", name, word)
				}
			}
		}
	}
}
