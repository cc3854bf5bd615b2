package main

import (
	"path/filepath"
	"time"
)

// defaultAPIKey is the key of every relay nobody has configured. It is
// public, so a relay that still uses it says so at start.
const defaultAPIKey = "U2FsdGVkX18ucQzBA+ozhc3ySrVZ"

// Config holds every setting. A zero that means "derive it" stays zero here;
// Settled fills it in for one machine.
type Config struct {
	Port     int // 0 picks a free one
	Host     string
	APIKey   string
	WSPath   string
	PushPath string

	AllowedOrigins []string

	MaxConnections       int // 0 = what the open-file limit allows
	MaxHandshakes        int
	MaxPushBytes         int
	MaxMessageBytes      int
	MaxMessageRate       int // a second per connection; 0 = off
	MaxPendingBytes      int
	MaxTotalPendingBytes int64 // 0 = a quarter of the memory

	HandshakeTimeout time.Duration
	WriteTimeout     time.Duration
	PingInterval     time.Duration // 0 = off
	PongTimeout      time.Duration
	ShutdownTimeout  time.Duration

	MaxDelayed int
	MaxDelay   time.Duration

	DataDir     string // noDataDir for none; a relative one is meant from configDir
	OnMissed    string
	MissedRate  int // a second
	MissedGrace time.Duration

	RequireExplicitBroadcast bool
	IdempotencyWindow        time.Duration
	MaxIdempotencyBytes      int

	Loops  int // 0 = one a core
	Shards int // 0 = two a core

	LogLevel  string
	LogFormat string

	configDir string // where the config file is
}

// noDataDir is the value of data_dir that keeps delayed pushes in memory.
const noDataDir = "none"

// The values of on_missed.
const (
	missedSend = "send"
	missedDrop = "drop"
)

// Default returns the settings of a relay that nobody has configured.
func Default() Config {
	return Config{
		Port:     3000,
		APIKey:   defaultAPIKey,
		WSPath:   "/ws",
		PushPath: "/api/push",

		AllowedOrigins: []string{"*"},

		MaxHandshakes:   4096,
		MaxPushBytes:    1 << 20,
		MaxMessageBytes: 64 << 10,
		MaxMessageRate:  1000,
		MaxPendingBytes: 1 << 20,

		HandshakeTimeout: 5 * time.Second,
		WriteTimeout:     10 * time.Second,
		PingInterval:     25 * time.Second,
		PongTimeout:      10 * time.Second,
		ShutdownTimeout:  8 * time.Second, // docker stop kills after 10 s

		MaxDelayed: 10_000_000,
		MaxDelay:   365 * 24 * time.Hour,

		DataDir:     "data",
		OnMissed:    missedSend,
		MissedRate:  10_000,
		MissedGrace: 3 * time.Second,

		IdempotencyWindow:   5 * time.Minute,
		MaxIdempotencyBytes: 64 << 20,

		LogLevel:  "info",
		LogFormat: formatText,
	}
}

// machine is what the derived settings depend on.
type machine struct {
	files  uint64 // open descriptors the process may have
	memory int64  // bytes it may use; 0 = unknown
	cores  int
}

const (
	shardsPerCore = 2

	// pendingShare of the memory may wait to be sent. Go's collector may let
	// the heap double before it runs, so a quarter is half in the worst case.
	pendingShare = 4
	// unknownPending serves where the memory cannot be found out.
	unknownPending = 1 << 30
	// minPending keeps a tiny container able to hold a few full connections.
	minPending = 16 << 20
)

// Settled returns c with every derived setting filled in for m and its files.
// MaxConnections is also cut to what files can serve.
func (c Config) Settled(m machine, files budget) Config {
	c.Loops = c.loops(m)
	c.Shards = c.shards(m)
	if c.MaxConnections == 0 || c.MaxConnections > files.connections {
		c.MaxConnections = files.connections
	}
	if c.MaxTotalPendingBytes == 0 {
		c.MaxTotalPendingBytes = unknownPending
		if m.memory > 0 {
			c.MaxTotalPendingBytes = max(m.memory/pendingShare, minPending)
		}
	}
	if c.DataDir != noDataDir && !filepath.IsAbs(c.DataDir) {
		c.DataDir = filepath.Join(c.configDir, c.DataDir)
	}
	return c
}

func (c Config) loops(m machine) int {
	if c.Loops == 0 {
		return m.cores
	}
	return c.Loops
}

func (c Config) shards(m machine) int {
	if c.Shards == 0 {
		return shardsPerCore * m.cores
	}
	return c.Shards
}
