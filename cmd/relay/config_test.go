package main

import (
	"encoding/json"
	"log/slog"
	"os"
	"reflect"
	"testing"

	"gorelay/api"
	"gorelay/engine"
)

func TestExampleConfigHoldsEveryDefault(t *testing.T) {
	text, err := os.ReadFile("config.example.json")
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	def := Default()
	for _, s := range settings() {
		raw, there := values[s.key]
		if !there {
			t.Errorf("%s is missing", s.key)
			continue
		}
		if got, ok := s.fromJSON(raw); !ok || got != s.text(&def) {
			t.Errorf("%s is %s, the default is %q", s.key, raw, s.text(&def))
		}
	}
	l, err := resolve(nil, values, "config.example.json")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(l.config, def) {
		t.Errorf("the example gives %+v", l.config)
	}
	if len(l.notes) != 1 { // the well-known key
		t.Errorf("notes: %v", l.notes)
	}
}

// The engine and the api have defaults of their own for those who use them
// without the relay. They are to be the same.
func TestDefaultsAgreeWithThePackages(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	files := newBudget(20000, 2, 8)
	o := engineOptions(Default(), files, log)
	want := engine.DefaultOptions()
	// These follow the machine.
	want.Loops, want.Shards, want.MaxConns, want.MaxTotalPendingBytes, want.MaxHTTPConns, want.Logger = 0, 0, 0, 0, files.http, log
	if !reflect.DeepEqual(o, want) {
		t.Errorf("engine: the relay's %+v\nthe engine's %+v", o, want)
	}
	a := apiOptions(Default(), log)
	b := api.DefaultOptions()
	b.Logger = log
	b.AllowedOrigins = []string{"*"} // to the api the same as none
	if !reflect.DeepEqual(a, b) {
		t.Errorf("api: the relay's %+v\nthe api's %+v", a, b)
	}
}

func TestOptionsCarryEverySetting(t *testing.T) {
	c := Config{Port: 1, Host: "::1", WSPath: "/2", PushPath: "/3", APIKey: "4", AllowedOrigins: []string{"5"},
		MaxConnections: 6, MaxHandshakes: 7, MaxPushBytes: 8, MaxMessageBytes: 9, MaxMessageRate: 10,
		MaxPendingBytes: 11, MaxTotalPendingBytes: 12, HandshakeTimeout: 13, WriteTimeout: 14, PingInterval: 15,
		PongTimeout: 16, MaxDelayed: 17, MaxDelay: 18, Loops: 19, Shards: 20,
		OnMissed: missedDrop, MissedRate: 22, MissedGrace: 23, RequireExplicitBroadcast: true, IdempotencyWindow: 24, MaxIdempotencyBytes: 25}
	log := slog.New(slog.DiscardHandler)
	want := engine.DefaultOptions()
	want.Addr, want.MaxConns, want.MaxHandshakes, want.MaxMessageBytes, want.MaxMessageRate = "[::1]:1", 6, 7, 9, 10
	want.MaxPendingBytes, want.MaxTotalPendingBytes, want.HandshakeTimeout, want.WriteTimeout = 11, 12, 13, 14
	want.PingInterval, want.PongTimeout, want.MaxDelayed, want.Loops, want.Shards = 15, 16, 17, 19, 20
	want.MaxHTTPConns, want.Logger = 21, log
	want.OnMissed, want.MissedRate, want.MissedGrace = engine.MissedDrop, 22, 23
	if o := engineOptions(c, budget{http: 21}, log); !reflect.DeepEqual(o, want) {
		t.Errorf("engine: %+v\nwant %+v", o, want)
	}
	a := apiOptions(c, log)
	if a.WSPath != "/2" || a.PushPath != "/3" || a.APIKey != "4" || a.AllowedOrigins[0] != "5" || a.MaxPushBytes != 8 || a.MaxDelay != 18 || a.Logger != log ||
		!a.RequireExplicitBroadcast || a.Window != 24 || a.MaxIdempotencyBytes != 25 {
		t.Errorf("api: %+v", a)
	}
}

func TestSettled(t *testing.T) {
	files := budget{connections: 900}
	m := machine{memory: 1 << 30, cores: 2}
	for _, tc := range []struct {
		name   string
		change func(*Config, *machine)
		got    func(Config) int64
		want   int64
	}{
		{"connections follow the files", nil, func(c Config) int64 { return int64(c.MaxConnections) }, 900},
		{"fewer connections stay", func(c *Config, _ *machine) { c.MaxConnections = 5 }, func(c Config) int64 { return int64(c.MaxConnections) }, 5},
		{"more connections are cut", func(c *Config, _ *machine) { c.MaxConnections = 901 }, func(c Config) int64 { return int64(c.MaxConnections) }, 900},
		{"a loop a core", nil, func(c Config) int64 { return int64(c.Loops) }, 2},
		{"loops as set", func(c *Config, _ *machine) { c.Loops = 7 }, func(c Config) int64 { return int64(c.Loops) }, 7},
		{"two shards a core", nil, func(c Config) int64 { return int64(c.Shards) }, 4},
		{"shards as set", func(c *Config, _ *machine) { c.Shards = 1 }, func(c Config) int64 { return int64(c.Shards) }, 1},
		{"a quarter of the memory waits", nil, func(c Config) int64 { return c.MaxTotalPendingBytes }, 1 << 28},
		{"not less than a little", func(_ *Config, m *machine) { m.memory = 1 << 20 }, func(c Config) int64 { return c.MaxTotalPendingBytes }, minPending},
		{"unknown memory", func(_ *Config, m *machine) { m.memory = 0 }, func(c Config) int64 { return c.MaxTotalPendingBytes }, unknownPending},
		{"waiting bytes as set", func(c *Config, _ *machine) { c.MaxTotalPendingBytes = 3 }, func(c Config) int64 { return c.MaxTotalPendingBytes }, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, m := Default(), m
			if tc.change != nil {
				tc.change(&c, &m)
			}
			if got := tc.got(c.Settled(m, files)); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}
