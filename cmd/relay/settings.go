package main

import (
	"fmt"
	"strings"
	"time"
)

// setting describes one key: how it is named, read, judged and explained.
// The table below is the only place that knows the keys; the config file, the
// environment, -check, -h and the test of the documents all follow it.
type setting struct {
	key   string // in the config file
	env   string // in the environment
	kind  kind
	basic bool // written into a fresh config file

	min, max int64    // bounds of a number; nanoseconds for a duration
	zero     string   // what 0 means where 0 is allowed beside min..max
	choices  []string // of a kindChoice

	field func(*Config) any // pointer to what it sets
	help  string
}

const (
	maxTimeout = int64(24 * time.Hour)
	minTimeout = int64(time.Millisecond)
	maxMessage = 1 << 30 // bytes; one message has to fit into memory
	maxCount   = 1 << 30
	maxTotal   = 1 << 50 // bytes
	maxTimers  = 1 << 28 // what the engine's timer wheel holds
)

// settings lists every key in the order in which a reader wants to meet them.
func settings() []setting {
	return []setting{
		{key: "port", env: "PORT", kind: kindPort, basic: true, max: 65535, zero: "a free port",
			field: func(c *Config) any { return &c.Port }, help: "TCP port for clients and pushes"},
		{key: "api_key", env: "RELAY_API_KEY", kind: kindSecret, basic: true,
			field: func(c *Config) any { return &c.APIKey }, help: "key that a push must carry"},
		{key: "ws_path", env: "WS_PATH", kind: kindPath, basic: true,
			field: func(c *Config) any { return &c.WSPath }, help: "path of the WebSocket"},
		{key: "push_path", env: "PUSH_PATH", kind: kindPath, basic: true,
			field: func(c *Config) any { return &c.PushPath }, help: "path of the push API"},

		{key: "host", env: "RELAY_HOST", kind: kindHost,
			field: func(c *Config) any { return &c.Host }, help: "address to listen on; empty is every address"},
		{key: "allowed_origins", env: "RELAY_ALLOWED_ORIGINS", kind: kindOrigins,
			field: func(c *Config) any { return &c.AllowedOrigins }, help: "web origins that may connect; others get 403"},

		{key: "max_connections", env: "RELAY_MAX_CONNECTIONS", kind: kindCount, min: 1, max: maxCount, zero: "what the open-file limit allows",
			field: func(c *Config) any { return &c.MaxConnections }, help: "open WebSockets; past it 503"},
		{key: "max_handshakes", env: "RELAY_MAX_HANDSHAKES", kind: kindCount, min: 1, max: maxCount,
			field: func(c *Config) any { return &c.MaxHandshakes }, help: "handshakes under way; past it those that take over a second are dropped"},
		{key: "max_push_bytes", env: "RELAY_MAX_PUSH_BYTES", kind: kindBytes, min: 1, max: maxMessage,
			field: func(c *Config) any { return &c.MaxPushBytes }, help: "body of one push; past it 413"},
		{key: "max_message_bytes", env: "RELAY_MAX_MESSAGE_BYTES", kind: kindBytes, min: 1, max: maxMessage,
			field: func(c *Config) any { return &c.MaxMessageBytes }, help: "one message from a client; past it close 1009"},
		{key: "max_message_rate", env: "RELAY_MAX_MESSAGE_RATE", kind: kindCount, min: 1, max: maxCount, zero: "off",
			field: func(c *Config) any { return &c.MaxMessageRate }, help: "messages a second from one client; past it close 1008"},
		{key: "max_pending_bytes", env: "RELAY_MAX_PENDING_BYTES", kind: kindBytes, min: 1, max: maxMessage,
			field: func(c *Config) any { return &c.MaxPendingBytes }, help: "bytes that wait for one slow client; past it it is closed"},
		{key: "max_total_pending_bytes", env: "RELAY_MAX_TOTAL_PENDING_BYTES", kind: kindBytes, min: 1, max: maxTotal, zero: "a quarter of the memory",
			field: func(c *Config) any { return &c.MaxTotalPendingBytes }, help: "bytes that wait for all clients; past it the slowest are closed, then a push gets 503"},

		{key: "handshake_timeout", env: "RELAY_HANDSHAKE_TIMEOUT", kind: kindDuration, min: minTimeout, max: maxTimeout,
			field: func(c *Config) any { return &c.HandshakeTimeout }, help: "from the first byte to the end of the request head"},
		{key: "write_timeout", env: "RELAY_WRITE_TIMEOUT", kind: kindDuration, min: minTimeout, max: maxTimeout,
			field: func(c *Config) any { return &c.WriteTimeout }, help: "a client that takes no byte for this long is closed"},
		{key: "ping_interval", env: "RELAY_PING_INTERVAL", kind: kindDuration, min: minTimeout, max: maxTimeout, zero: "off",
			field: func(c *Config) any { return &c.PingInterval }, help: "silence after which a client is pinged"},
		{key: "pong_timeout", env: "RELAY_PONG_TIMEOUT", kind: kindDuration, min: minTimeout, max: maxTimeout,
			field: func(c *Config) any { return &c.PongTimeout }, help: "silence after that ping which closes"},
		{key: "shutdown_timeout", env: "RELAY_SHUTDOWN_TIMEOUT", kind: kindDuration, min: minTimeout, max: maxTimeout,
			field: func(c *Config) any { return &c.ShutdownTimeout }, help: "longest time a stop may take"},

		{key: "max_delayed", env: "RELAY_MAX_DELAYED", kind: kindCount, min: 1, max: maxTimers,
			field: func(c *Config) any { return &c.MaxDelayed }, help: "delayed pushes that wait; past it 503"},
		{key: "max_delay", env: "RELAY_MAX_DELAY", kind: kindDuration, min: int64(time.Second), max: int64(200 * 365 * 24 * time.Hour),
			field: func(c *Config) any { return &c.MaxDelay }, help: "longest delay of a push; past it 400"},

		{key: "data_dir", env: "RELAY_DATA_DIR", kind: kindFolder,
			field: func(c *Config) any { return &c.DataDir }, help: "folder for delayed pushes, seen from the config file; none keeps them in memory"},
		{key: "on_missed", env: "RELAY_ON_MISSED", kind: kindChoice, choices: []string{missedSend, missedDrop},
			field: func(c *Config) any { return &c.OnMissed }, help: "what becomes of delayed pushes that were due while the relay was down"},
		{key: "missed_rate", env: "RELAY_MISSED_RATE", kind: kindCount, min: 1, max: maxCount,
			field: func(c *Config) any { return &c.MissedRate }, help: "how many of those go out in a second"},
		{key: "missed_grace", env: "RELAY_MISSED_GRACE", kind: kindDuration, min: minTimeout, max: maxTimeout, zero: "at once",
			field: func(c *Config) any { return &c.MissedGrace }, help: "how long they wait after the start, for clients to come back"},

		{key: "require_explicit_broadcast", env: "RELAY_REQUIRE_EXPLICIT_BROADCAST", kind: kindSwitch,
			field: func(c *Config) any { return &c.RequireExplicitBroadcast }, help: "refuse a push without a target unless it says \"broadcast\": true"},
		{key: "idempotency_window", env: "RELAY_IDEMPOTENCY_WINDOW", kind: kindDuration, min: int64(time.Second), max: maxTimeout,
			field: func(c *Config) any { return &c.IdempotencyWindow }, help: "how long an Idempotency-Key is remembered"},
		{key: "max_idempotency_bytes", env: "RELAY_MAX_IDEMPOTENCY_BYTES", kind: kindBytes, min: 1 << 10, max: maxMessage,
			field: func(c *Config) any { return &c.MaxIdempotencyBytes }, help: "memory for Idempotency-Keys; past it a push with a new one gets 503"},

		{key: "loops", env: "RELAY_LOOPS", kind: kindCount, min: 1, max: 1024, zero: "one a core",
			field: func(c *Config) any { return &c.Loops }, help: "event loops"},
		{key: "shards", env: "RELAY_SHARDS", kind: kindCount, min: 1, max: 1 << 16, zero: "two a core",
			field: func(c *Config) any { return &c.Shards }, help: "groups of tokens, each with a lock and a worker"},

		{key: "log_level", env: "RELAY_LOG_LEVEL", kind: kindChoice, choices: []string{"debug", "info", "warn", "error"},
			field: func(c *Config) any { return &c.LogLevel }, help: "least important line to log"},
		{key: "log_format", env: "RELAY_LOG_FORMAT", kind: kindChoice, choices: []string{formatText, formatJSON},
			field: func(c *Config) any { return &c.LogFormat }, help: "form of a log line"},
	}
}

// allowed says which values the setting takes, to end the sentence "allowed:".
func (s *setting) allowed() string {
	var text string
	switch s.kind {
	case kindPort:
		text = fmt.Sprintf("a port number from 1 to %d", s.max)
	case kindSecret:
		return "a string"
	case kindPath:
		return `a path that starts with "/", has no "?", "#", space or control character, and is not "` + healthPath + `"`
	case kindHost:
		return "an IP address or a host name, without a port"
	case kindCount:
		text = fmt.Sprintf("a whole number from %d to %d", s.min, s.max)
	case kindBytes:
		text = fmt.Sprintf("a whole number of bytes from %d to %d", s.min, s.max)
	case kindDuration:
		text = fmt.Sprintf("a duration with its unit, such as %q, from %s to %s",
			"25s", shortDuration(time.Duration(s.min)), shortDuration(time.Duration(s.max)))
	case kindOrigins:
		return `"*" for every origin, or origins such as "https://example.com"`
	case kindChoice:
		return strings.Join(s.choices, ", ")
	case kindSwitch:
		return "true or false"
	case kindFolder:
		return `a path without control characters, or "` + noDataDir + `" to keep delayed pushes in memory`
	}
	if s.zero != "" {
		text += ", or 0 for " + s.zero
	}
	return text
}
