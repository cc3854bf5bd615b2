package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

// The values of log_format.
const (
	formatText = "text"
	formatJSON = "json"
)

// newLogger returns the program's logger. level and format are values that
// the settings allow.
func newLogger(w io.Writer, format, level string) *slog.Logger {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		least = slog.LevelInfo
	}
	if format == formatJSON {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: least}))
	}
	return slog.New(newTextHandler(w, least))
}

// textHandler writes lines in the form of the standard library's default
// logger: "2026/11/24 13:00:00 INFO message key=value". Unlike
// slog.TextHandler it leaves the message unquoted, so people and scripts find
// the start lines as they are.
type textHandler struct {
	least slog.Level
	attrs slog.Handler // writes key=value pairs and a newline into out.line
	out   *lineWriter
}

// lineWriter is shared by a handler and all that are derived from it.
type lineWriter struct {
	mu   sync.Mutex
	w    io.Writer
	line bytes.Buffer
}

func newTextHandler(w io.Writer, least slog.Level) *textHandler {
	out := &lineWriter{w: w}
	return &textHandler{least: least, out: out, attrs: slog.NewTextHandler(&out.line, &slog.HandlerOptions{
		Level: least,
		// What the line begins with is written here, not by the TextHandler.
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
				return slog.Attr{}
			}
			return a
		},
	})}
}

func (h *textHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.least }

func (h *textHandler) Handle(ctx context.Context, r slog.Record) error {
	o := h.out
	o.mu.Lock()
	defer o.mu.Unlock()
	o.line.Reset()
	o.line.WriteString(r.Time.Format("2006/01/02 15:04:05 "))
	o.line.WriteString(r.Level.String())
	o.line.WriteByte(' ')
	o.line.WriteString(r.Message)
	o.line.WriteByte(' ')
	before := o.line.Len()
	pairs := slog.NewRecord(time.Time{}, r.Level, "", r.PC) // no time: it stands already
	r.Attrs(func(a slog.Attr) bool { pairs.AddAttrs(a); return true })
	if err := h.attrs.Handle(ctx, pairs); err != nil {
		return err
	}
	if o.line.Len() == before+1 { // no pair: only the newline came
		o.line.Truncate(before - 1)
		o.line.WriteByte('\n')
	}
	_, err := o.w.Write(o.line.Bytes())
	return err
}

func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &textHandler{least: h.least, attrs: h.attrs.WithAttrs(attrs), out: h.out}
}

func (h *textHandler) WithGroup(name string) slog.Handler {
	return &textHandler{least: h.least, attrs: h.attrs.WithGroup(name), out: h.out}
}
