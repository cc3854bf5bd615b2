package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"gorelay/api"
)

// source is where a value came from.
type source uint8

const (
	fromDefault source = iota
	fromEnvironment
	fromFile
)

// String is the name that -check prints.
func (s source) String() string {
	return [...]string{"default", "environment", "config.json"}[s]
}

// note is a line for the log. Loading only collects them: how to log is
// itself a setting.
type note struct {
	level slog.Level
	text  string
}

// loaded is what the three sources come to.
type loaded struct {
	config  Config
	sources map[string]source // by key
	notes   []note
	file    fileState // what was found at the config file's path
}

// load reads the config file at path and the environment. With write it also
// leaves a valid config file where there was none. The error is one line for
// the user.
func load(path string, environ []string, write bool) (*loaded, error) {
	file := configFile{path: path}
	// Another relay may write the file between our look and our write. Then
	// its file counts, and is read in a second round.
	for last := false; ; last = true {
		if err := file.read(); err != nil {
			return nil, err
		}
		l, err := resolve(environ, file.values, path)
		if err != nil {
			return nil, err
		}
		l.file = file.state
		if l.config.configDir, err = filepath.Abs(filepath.Dir(path)); err != nil {
			return nil, err
		}
		if !write {
			l.notes = append(file.describe(), l.notes...)
			return l, nil
		}
		notes, err := file.complete(l.config)
		if errors.Is(err, errAppeared) && !last {
			continue
		}
		if err != nil {
			notes = append(notes, note{slog.LevelWarn, fmt.Sprintf("cannot write %s: %v; the relay runs without it", path, reason(err))})
		}
		l.notes = append(notes, l.notes...)
		return l, nil
	}
}

// resolve applies default, environment and file, later wins, and judges what
// won. file holds the values of the config file by key, path names it.
func resolve(environ []string, file map[string]json.RawMessage, path string) (*loaded, error) {
	l := &loaded{config: Default(), sources: map[string]source{}}
	env := environment(environ)
	values := l.matchKeys(file, path)
	for _, s := range settings() {
		raw := values[s.key]
		text, ok := "", true
		if raw != nil {
			text, ok = s.fromJSON(raw)
		}
		switch fallback := env[s.env]; {
		case !ok || text != "":
			if fallback != "" {
				l.warn("environment variable %s has no effect: %s sets %s", s.env, path, s.key)
			}
			if !ok || !s.set(&l.config, text) {
				return nil, s.problem(path, jsonText(raw))
			}
			l.sources[s.key] = fromFile
		case fallback != "":
			if !s.set(&l.config, fallback) {
				return nil, s.problem("environment variable "+s.env, fallback)
			}
			l.sources[s.key] = fromEnvironment
		case s.kind == kindOrigins && bytes.HasPrefix(bytes.TrimSpace(raw), []byte("[")):
			l.warn("%s in %s is an empty list and counts as not set", s.key, path)
		}
	}
	l.warnUnknown(environ)
	if err := l.validate(path); err != nil {
		return nil, err
	}
	return l, nil
}

// matchKeys finds the settings of the file's keys, by their exact name or,
// failing that, in another case, and warns about every key that is none.
func (l *loaded) matchKeys(file map[string]json.RawMessage, path string) map[string]json.RawMessage {
	all := settings()
	values := make(map[string]json.RawMessage, len(file))
	names := make([]string, 0, len(file))
	for name := range file {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		key := strings.ToLower(name)
		known := slices.ContainsFunc(all, func(s setting) bool { return s.key == key })
		if _, exact := file[key]; !known || exact && name != key {
			l.warn("unknown key %q in %s is ignored%s", clip(name), path, suggest(key, func(s setting) string { return s.key }))
			continue
		}
		values[key] = file[name]
	}
	return values
}

// warnUnknown names environment variables that look like settings and are
// none: a misspelt limit would otherwise be no limit.
func (l *loaded) warnUnknown(environ []string) {
	all := settings()
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, "RELAY_") || value == "" || injected(name, value) ||
			slices.ContainsFunc(all, func(s setting) bool { return s.env == name }) {
			continue
		}
		l.warn("unknown environment variable %s is ignored%s", clip(name), suggest(name, func(s setting) string { return s.env }))
	}
}

// validate judges values that are fine alone and not together, and warns
// about those that are legal and unwise.
func (l *loaded) validate(path string) error {
	c := &l.config
	if c.WSPath == c.PushPath {
		origin := map[source]string{fromDefault: "the defaults", fromEnvironment: "the environment", fromFile: path}
		return fmt.Errorf("ws_path (from %s) and push_path (from %s) are both %q; allowed: two different paths",
			origin[l.sources["ws_path"]], origin[l.sources["push_path"]], c.WSPath)
	}
	if slices.Contains(api.TakenPaths(c.PushPath), c.WSPath) {
		return fmt.Errorf("ws_path is %q, which is a call of the push API at push_path %q; allowed: a path outside of it", c.WSPath, c.PushPath)
	}
	switch {
	case c.APIKey == defaultAPIKey:
		l.warn("the API key is the well-known default, so anyone can push; set api_key in %s or RELAY_API_KEY", path)
	case strings.TrimSpace(c.APIKey) != c.APIKey:
		l.warn("the API key begins or ends with white space, which an HTTP header cannot carry")
	case strings.ContainsFunc(c.APIKey, unicode.IsControl):
		l.warn("the API key has a control character in it, which an HTTP header cannot carry")
	}
	return nil
}

func (l *loaded) warn(format string, args ...any) {
	l.notes = append(l.notes, note{slog.LevelWarn, fmt.Sprintf(format, args...)})
}

// problem is the one line about a value that stops the start. A secret's
// value is never in it.
func (s *setting) problem(where, value string) error {
	if s.kind == kindSecret {
		return fmt.Errorf("%s (from %s) is not usable; allowed: %s", s.key, where, s.allowed())
	}
	return fmt.Errorf("%s (from %s) is %s; allowed: %s", s.key, where, quoted(value), s.allowed())
}

// environment is the list as a map; as for the shell, the last one counts.
func environment(environ []string) map[string]string {
	m := make(map[string]string, len(environ))
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		m[name] = value
	}
	return m
}

// injected tells variables that an orchestrator sets by itself for a service
// named "relay", such as RELAY_PORT=tcp://10.0.0.1:3000.
func injected(name, value string) bool {
	return strings.HasPrefix(name, "RELAY_SERVICE_") || strings.HasPrefix(name, "RELAY_PORT_") || strings.HasPrefix(value, "tcp://")
}

// suggest names the setting that a misspelt name most likely means, if any.
func suggest(name string, of func(setting) string) string {
	const near = 2 // edits
	best, at := near+1, ""
	for _, s := range settings() {
		if d := distance(name, of(s)); d < best {
			best, at = d, of(s)
		}
		if "RELAY_"+s.env == name {
			best, at = 0, s.env
		}
	}
	if at == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", at)
}

// distance is the number of one-letter edits from a to b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// jsonText is a value of the file as a message shows it.
func jsonText(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// quoted makes a value safe to show: one line, not endless.
func quoted(s string) string { return fmt.Sprintf("%q", clip(s)) }

func clip(s string) string {
	const most = 80 // bytes
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
