package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"
)

// Options are the settings of an Engine. DefaultOptions gives the whole set;
// a zero value means "off" only where a field's comment says so.
type Options struct {
	Addr string // "host:port" to listen on; an empty host is every address

	Loops  int // event loops, each one epoll and one goroutine
	Shards int // token shards, each one lock and one outbound worker

	MaxConns      int // open WebSocket connections; past it 503
	MaxHandshakes int // handshakes under way; past it the oldest are dropped, once they take over a second
	MaxHTTPConns  int // connections of HTTP, on the loops and handed over; past it 503

	// HTTPBusy is the whole HTTP answer to a client that cannot be HTTP's because
	// of MaxHTTPConns, and HTTPStopping because of a stop; nil is a plain 503.
	HTTPBusy, HTTPStopping []byte

	MaxMessageBytes int // one inbound message; past it close 1009
	MaxMessageRate  int // inbound messages, fragments and control frames a second per connection; past it 1008; 0 = off

	MaxPendingBytes int // waiting bytes of one connection that does not read; past it 1008

	// MaxTotalPendingBytes bounds, each by itself, for all connections
	// together: frames of Send and Reply that wait; broadcasts that not every
	// shard has sent; inbound messages that are not complete. Past it 1013 for
	// those that hold the most, or ErrSaturated.
	MaxTotalPendingBytes int64

	HandshakeTimeout time.Duration // accept to complete request head
	WriteTimeout     time.Duration // a socket that takes no byte for this long is closed
	PingInterval     time.Duration // silence after which a ping goes out; 0 = off
	PongTimeout      time.Duration // silence after that ping which closes

	MaxDelayed int // delayed messages waiting for their time

	Vault       Vault         // keeps delayed messages on disk; nil: in memory alone
	OnMissed    OnMissed      // what becomes of those that were due while there was no engine
	MissedRate  int           // how many of them go out in a second, at most
	MissedGrace time.Duration // how long after the start they go out; 0 = at once

	Logger *slog.Logger // never nil; never given a token
}

// DefaultOptions returns the settings of a relay that serves well unchanged.
func DefaultOptions() Options {
	cores := runtime.GOMAXPROCS(0)
	return Options{
		Addr:                 ":3000",
		Loops:                cores,
		Shards:               2 * cores,
		MaxConns:             1 << 20,
		MaxHandshakes:        4096,
		MaxHTTPConns:         1024,
		MaxMessageBytes:      64 << 10,
		MaxMessageRate:       1000,
		MaxPendingBytes:      1 << 20,
		MaxTotalPendingBytes: 1 << 30,
		HandshakeTimeout:     5 * time.Second,
		WriteTimeout:         10 * time.Second,
		PingInterval:         25 * time.Second,
		PongTimeout:          10 * time.Second,
		MaxDelayed:           10_000_000,
		MissedRate:           10_000,
		MissedGrace:          3 * time.Second,
		Logger:               slog.New(slog.DiscardHandler),
	}
}

// validate refuses settings that cannot work. It names the field.
func (o *Options) validate() error {
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"Loops", int64(o.Loops)},
		{"Shards", int64(o.Shards)},
		{"MaxConns", int64(o.MaxConns)},
		{"MaxHandshakes", int64(o.MaxHandshakes)},
		{"MaxHTTPConns", int64(o.MaxHTTPConns)},
		{"MaxMessageBytes", int64(o.MaxMessageBytes)},
		{"MaxPendingBytes", int64(o.MaxPendingBytes)},
		{"MaxTotalPendingBytes", o.MaxTotalPendingBytes},
		{"HandshakeTimeout", int64(o.HandshakeTimeout)},
		{"WriteTimeout", int64(o.WriteTimeout)},
		{"PongTimeout", int64(o.PongTimeout)},
		{"MaxDelayed", int64(o.MaxDelayed)},
		{"MissedRate", int64(o.MissedRate)},
	} {
		if f.value <= 0 {
			return fmt.Errorf("engine: %s must be more than 0, not %d", f.name, f.value)
		}
	}
	switch {
	case o.MaxDelayed > slabChunks*slabChunk:
		return fmt.Errorf("engine: MaxDelayed must be at most %d, not %d", slabChunks*slabChunk, o.MaxDelayed)
	case o.MaxMessageRate < 0 || o.PingInterval < 0 || o.MissedGrace < 0:
		return errors.New("engine: MaxMessageRate, PingInterval and MissedGrace must not be negative")
	case o.Logger == nil:
		return errors.New("engine: Logger must not be nil")
	}
	return nil
}
