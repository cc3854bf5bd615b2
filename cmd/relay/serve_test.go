package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"gorelay/api"
	"gorelay/engine"
)

// fakeCore is an engine whose Shutdown does what a test wants.
type fakeCore struct{ shutdown func(context.Context) error }

func (f fakeCore) Addr() net.Addr { return &net.TCPAddr{Port: 1} }
func (f fakeCore) Stats() engine.Stats {
	return engine.Stats{Open: 43, Closed: map[string]int64{"x": 44}}
}
func (f fakeCore) Shutdown(ctx context.Context) error { return f.shutdown(ctx) }

// fakeAPI is a push API in the same way.
type fakeAPI struct{ shutdown func(context.Context) error }

func (f fakeAPI) Stats() api.Stats                   { return api.Stats{Accepted: 41, Refused: 42} }
func (f fakeAPI) Shutdown(ctx context.Context) error { return f.shutdown(ctx) }

// stopWith stops a relay whose push API and engine behave as given, and
// returns the exit code and the log.
func stopWith(pushes, clients func(context.Context) error, limit time.Duration, signals chan os.Signal) (int, string) {
	var log strings.Builder
	r := &relay{engine: fakeCore{clients}, server: fakeAPI{pushes}, served: make(chan error, 1)}
	r.served <- nil
	code := r.stop(limit, signals, exitOK, slog.New(newTextHandler(&log, slog.LevelInfo)))
	return code, log.String()
}

func atOnce(context.Context) error { return nil }

func untilOver(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestStop(t *testing.T) {
	t.Run("pushes first, then the clients", func(t *testing.T) {
		var order []string
		step := func(name string) func(context.Context) error {
			return func(context.Context) error { order = append(order, name); return nil }
		}
		code, log := stopWith(step("api"), step("engine"), time.Hour, nil)
		if code != exitOK || strings.Join(order, " ") != "api engine" || strings.Contains(log, "WARN") || !strings.Contains(log, "INFO stopped pushes=41 refused=42 open=43 closed=map[x:44]\n") {
			t.Errorf("exit %d, %v, %s", code, order, log)
		}
	})
	t.Run("a push that never ends does not keep the clients", func(t *testing.T) {
		drained := false
		code, log := stopWith(untilOver, func(context.Context) error { drained = true; return nil }, 200*time.Millisecond, nil)
		if code != exitOK || !drained || !strings.Contains(log, "by force") {
			t.Errorf("exit %d, clients drained %v, %s", code, drained, log)
		}
	})
	t.Run("the pushes' deadline is the earlier one", func(t *testing.T) {
		var pushes, clients time.Time
		stopWith(
			func(ctx context.Context) error { pushes, _ = ctx.Deadline(); return nil },
			func(ctx context.Context) error { clients, _ = ctx.Deadline(); return nil }, time.Hour, nil)
		if pushes.IsZero() || !pushes.Before(clients) {
			t.Errorf("pushes until %v, clients until %v", pushes, clients)
		}
	})
	t.Run("clients that never drain", func(t *testing.T) {
		code, log := stopWith(atOnce, untilOver, 20*time.Millisecond, nil)
		if code != exitOK || !strings.Contains(log, "by force") {
			t.Errorf("exit %d, %s", code, log)
		}
	})
	t.Run("an engine that hangs", func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		code, log := stopWith(atOnce, func(context.Context) error { <-release; return nil }, 20*time.Millisecond, nil)
		if code != exitOK || !strings.Contains(log, "the time is over") {
			t.Errorf("exit %d, %s", code, log)
		}
	})
	t.Run("a second signal", func(t *testing.T) {
		for _, s := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				signals := make(chan os.Signal)
				began := time.Now()
				go func() {
					signals <- s // the same one again
					time.Sleep(sameSignal - time.Nanosecond)
					signals <- s
					signals <- syscall.SIGHUP // a terminal that closes sends several; they change nothing
					time.Sleep(time.Nanosecond)
					signals <- syscall.SIGHUP
					signals <- s
				}()
				code, log := stopWith(atOnce, func(context.Context) error { <-release; return nil }, time.Hour, signals)
				close(release)
				if took := time.Since(began); code != exitFailed || !strings.Contains(log, "second signal") || took != sameSignal {
					t.Errorf("%v: exit %d after %v, %s", s, code, took, log)
				}
			})
		}
	})
}

func TestOpenProblems(t *testing.T) {
	for _, tc := range []struct {
		err  error
		c    Config
		want string
	}{
		{syscall.EADDRINUSE, Config{Port: 3000}, "port 3000 is taken"},
		{syscall.EACCES, Config{Port: 80}, "ports below 1024"},
		{syscall.EADDRNOTAVAIL, Config{Host: "192.0.2.1"}, `host "192.0.2.1" is no address`},
		{&net.DNSError{Err: "no such host", Name: "relay.invalid", Server: "10.0.0.1:53"}, Config{Host: "relay.invalid"}, `host "relay.invalid" cannot be looked up: no such host; `},
		{errors.New("boom"), Config{Port: 3000}, "cannot listen on port 3000"},
	} {
		got := openProblem(fmt.Errorf("engine: bind: %w", tc.err), tc.c)
		if !strings.Contains(got, tc.want) || strings.Contains(got, "\n") {
			t.Errorf("%v: %q", tc.err, got)
		}
	}
}

func TestDisplayAddr(t *testing.T) {
	for host, want := range map[string]string{
		"": "localhost:7", "0.0.0.0": "localhost:7", "::": "localhost:7", "127.0.0.1": "localhost:7", "::1": "localhost:7",
		"localhost": "localhost:7", "192.0.2.1": "192.0.2.1:7", "2001:db8::1": "[2001:db8::1]:7", "relay.internal": "relay.internal:7",
	} {
		if got := displayAddr(host, &net.TCPAddr{IP: net.IPv6zero, Port: 7}); got != want {
			t.Errorf("%q: %s, want %s", host, got, want)
		}
	}
}

func TestWirePath(t *testing.T) {
	for path, want := range map[string]string{"/ws": "/ws", "/a%20b/~c": "/a%20b/~c", "/é": "/%C3%A9"} {
		if got := wirePath(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestCapacityLines(t *testing.T) {
	for _, tc := range []struct{ set, warnings int }{{0, 0}, {900, 0}, {901, 1}} {
		var log strings.Builder
		c := Config{MaxConnections: tc.set}
		logCapacity(c, machine{files: 1000}, budget{connections: 900, reserve: 100}, slog.New(newTextHandler(&log, slog.LevelInfo)))
		if !strings.Contains(log.String(), "open-file limit of 1000 serves 900 connections; 100 files") || strings.Count(log.String(), "WARN") != tc.warnings {
			t.Errorf("max_connections %d: %s", tc.set, log.String())
		}
		if tc.warnings > 0 && !strings.Contains(log.String(), "ulimit -n 1001 ") {
			t.Errorf("no command that helps: %s", log.String())
		}
	}
}
