package main

import (
	"encoding/json"
	"log/slog"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"
)

func TestTextLines(t *testing.T) {
	for _, tc := range []struct {
		name string
		log  func(*slog.Logger)
		want string // behind the time
	}{
		{"a message stands as it is", func(l *slog.Logger) { l.Info(`WebSocket path = /ws "x"`) }, `INFO WebSocket path = /ws "x"`},
		{"pairs follow", func(l *slog.Logger) { l.Warn("m", "a", 1, "b", "two words") }, `WARN m a=1 b="two words"`},
		{"inherited pairs", func(l *slog.Logger) { l.With("a", 1).WithGroup("g").Error("m", "b", 2) }, `ERROR m a=1 g.b=2`},
		{"inherited pairs alone", func(l *slog.Logger) { l.With("a", 1).Info("m") }, `INFO m a=1`},
		{"a pair called time", func(l *slog.Logger) { l.Info("m", "time", 3) }, `INFO m time=3`},
		{"below the level", func(l *slog.Logger) { l.Debug("m") }, ``},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out strings.Builder
			tc.log(newLogger(&out, formatText, "info"))
			line := regexp.MustCompile(`^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d `).ReplaceAllString(out.String(), "")
			if tc.want != "" {
				tc.want += "\n"
			}
			if line != tc.want || tc.want != "" && line == out.String() {
				t.Errorf("got %q, want a time and %q", out.String(), tc.want)
			}
		})
	}
}

func TestLevelsAndJSON(t *testing.T) {
	for level, want := range map[string]int{"debug": 4, "info": 3, "warn": 2, "error": 1} {
		for _, format := range []string{formatText, formatJSON} {
			var out strings.Builder
			l := newLogger(&out, format, level)
			l.Debug("m")
			l.Info("m")
			l.Warn("m")
			l.Error("m")
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if len(lines) != want {
				t.Errorf("%s %s: %d lines, want %d", format, level, len(lines), want)
			}
			var v struct{ Msg string }
			if format == formatJSON && (json.Unmarshal([]byte(lines[0]), &v) != nil || v.Msg != "m") {
				t.Errorf("not a JSON line: %s", lines[0])
			}
		}
	}
}

func TestDescribeBuild(t *testing.T) {
	info := &debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Path: "gorelay", Version: "v1.2.3"}}
	if got, want := describeBuild(info), "gorelay v1.2.3, commit unknown, go1.26.0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	info.Main.Version = ""
	info.Settings = []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}}
	if got, want := describeBuild(info), "gorelay (devel), commit abc (dirty), go1.26.0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
