package main

import (
	"log/slog"
	"strings"
	"testing"

	"gorelay/engine"
)

func TestLossesAreToldOnce(t *testing.T) {
	var log strings.Builder
	logger := slog.New(newTextHandler(&log, slog.LevelInfo))
	var l losses
	for _, step := range []struct {
		name  string
		stats engine.Stats
		want  string // the end of the line; "" for none
	}{
		{"nothing yet", engine.Stats{}, ""},
		{"two reasons", engine.Stats{Dropped: map[string]int64{"slow_consumer": 2, "peer_gone": 1}},
			"WARN lost in the last minute dropped_peer_gone=1 dropped_slow_consumer=2\n"},
		{"nothing new", engine.Stats{Dropped: map[string]int64{"slow_consumer": 2, "peer_gone": 1}}, ""},
		{"more of one", engine.Stats{Dropped: map[string]int64{"slow_consumer": 7, "peer_gone": 1}},
			"WARN lost in the last minute dropped_slow_consumer=5\n"},
		{"refusals", engine.Stats{Dropped: map[string]int64{"slow_consumer": 7, "peer_gone": 1}, Saturated: 3, Full: 4},
			"WARN lost in the last minute refused_connections=4 refused_pushes=3\n"},
	} {
		log.Reset()
		l.log(step.stats, logger)
		if got := log.String(); !strings.HasSuffix(got, step.want) || (step.want == "") != (got == "") {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
	}
}
