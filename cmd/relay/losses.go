package main

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"gorelay/engine"
)

// lossPeriod is how often the log says what was dropped or refused meanwhile.
// Nothing is said when nothing was.
const lossPeriod = time.Minute

// losses tells what was lost since it was last asked.
type losses struct {
	dropped   map[string]int64 // engine.Stats.Dropped of the last time
	saturated int64
	full      int64
}

// since returns the new losses as attributes in the order of their names:
// messages dropped by close reason, pushes and connections refused with 503.
func (l *losses) since(s engine.Stats) []slog.Attr {
	var attrs []slog.Attr
	add := func(name string, n int64) {
		if n != 0 {
			attrs = append(attrs, slog.Int64(name, n))
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(s.Dropped)) {
		add("dropped_"+reason, s.Dropped[reason]-l.dropped[reason])
	}
	add("refused_connections", s.Full-l.full)
	add("refused_pushes", s.Saturated-l.saturated)
	*l = losses{dropped: s.Dropped, saturated: s.Saturated, full: s.Full}
	return attrs
}

// log writes the new losses, if there are any.
func (l *losses) log(s engine.Stats, logger *slog.Logger) {
	if attrs := l.since(s); len(attrs) > 0 {
		logger.LogAttrs(context.Background(), slog.LevelWarn, "lost in the last minute", attrs...)
	}
}
