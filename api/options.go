package api

import (
	"log/slog"
	"time"
)

const (
	// maxHeadBytes bounds a request's first line and headers together.
	maxHeadBytes = 8 << 10

	// maxDepth bounds the nesting of a push or of a client's message. It is
	// the depth that fastjson's parser allows as well.
	maxDepth = 300

	// MaxTokenBytes bounds the token that a connection can be open under: it
	// is kept as long as the connection. A longer one counts as none. A push
	// may carry a longer token; it matches nobody.
	MaxTokenBytes = 8 << 10
)

// Options are the settings of Clients and Server. DefaultOptions gives the
// whole set; every field must be
// set, if its comment does not say what its absence means.
type Options struct {
	WSPath   string // path of the WebSocket handshake, with its leading slash
	PushPath string // path of the push, with its leading slash
	APIKey   string // what a publisher must present

	MaxPushBytes int           // body of one push; past it 413
	MaxDelay     time.Duration // longest delay_seconds; past it 400

	// RequireExplicitBroadcast refuses with 400 a push that names nobody and
	// does not say "broadcast": true.
	RequireExplicitBroadcast bool

	// Window is how long an Idempotency-Key is remembered, in memory of at
	// most MaxIdempotencyBytes; past that a push that has one gets 503.
	Window              time.Duration
	MaxIdempotencyBytes int64

	// Secret is what ids of pushes are made with: with the same one, a server
	// knows the ids of another again. None is a random one.
	Secret []byte

	// AllowedOrigins are the web pages that may connect, as a browser names
	// them in the Origin header: "https://example.com", a port only where it
	// is not the scheme's own. Letter case does not matter. No entry, or the
	// entry "*", allows every page. A request without an Origin header does
	// not come from a page, and is always allowed.
	AllowedOrigins []string

	// MaxConns is how many connections the listener of Serve yields at the
	// same time, if it bounds them: near that number, those that have shown no
	// key make room. 0 is no bound.
	MaxConns int

	ReadTimeout  time.Duration // first byte of a request to the last of its body
	WriteTimeout time.Duration // one answer
	IdleTimeout  time.Duration // silence between two requests of a connection

	Logger *slog.Logger // never nil; never given a key or a token
}

// DefaultOptions returns the settings of a relay that serves well unchanged.
// The API key is the well-known one: a server on a public network needs its
// own.
func DefaultOptions() Options {
	return Options{
		WSPath:       "/ws",
		PushPath:     "/api/push",
		APIKey:       "U2FsdGVkX18ucQzBA+ozhc3ySrVZ",
		MaxPushBytes: 1 << 20,
		MaxDelay:     365 * 24 * time.Hour,
		Window:       5 * time.Minute,
		// Room for a quarter of a million keys.
		MaxIdempotencyBytes: 64 << 20,
		ReadTimeout:         10 * time.Second,
		WriteTimeout:        10 * time.Second,
		// Longer than the 60 to 90 seconds after which common HTTP clients
		// and proxies give up an idle connection themselves: who closes
		// second never loses a request to the other's close.
		IdleTimeout: 2 * time.Minute,
		Logger:      slog.New(slog.DiscardHandler),
	}
}
