package engine

import (
	"log/slog"
	"sync/atomic"
)

// counters count since the engine was made. They are atomic; nobody pushes
// them anywhere, Engine.Stats pulls.
type counters struct {
	accepted     atomic.Int64 // sockets accepted
	acceptFailed atomic.Int64 // pauses for want of descriptors
	http         atomic.Int64 // connections of HTTP, answered on the loops or handed over
	upgraded     atomic.Int64 // handshakes that succeeded
	full         atomic.Int64 // refused for want of room: MaxConns, MaxHTTPConns, the HTTP server's backlog
	framesIn     atomic.Int64 // messages, fragments and control frames of clients
	framesOut    atomic.Int64 // frames and refusals wholly handed to the kernel
	bytesOut     atomic.Int64
	unicasts     atomic.Int64 // accepted by Send
	broadcasts   atomic.Int64 // accepted by Broadcast
	scheduled    atomic.Int64 // accepted by Schedule
	saturated    atomic.Int64 // refused with ErrSaturated or ErrTooMany
	delayedLost  atomic.Int64 // left behind by a stop, damaged on disk, or too large to be sent ever
	cancelled    atomic.Int64 // delayed messages taken back
	missedSent   atomic.Int64 // delayed messages whose time came while there was no relay
	missedDrop   atomic.Int64 // the same, dropped because of MissedDrop
	pings        atomic.Int64
	panics       atomic.Int64

	closed  [numCloseReasons]atomic.Int64 // connections
	dropped [numCloseReasons]atomic.Int64 // messages not sent because of the close
}

// Stats is a snapshot of an engine. Counts are since its start.
type Stats struct {
	Open         int64 // WebSocket connections now
	HTTP         int64 // connections of HTTP now, on the loops and handed over
	Delayed      int   // messages waiting for their time now
	WaitingBytes int64 // unicast bytes waiting for sockets now

	Accepted, AcceptFailed, Upgraded, HTTPConns, Full int64
	FramesIn, FramesOut, BytesOut                     int64
	Unicasts, Broadcasts, Scheduled, Saturated        int64
	DelayedLost, Cancelled, MissedSent, MissedDropped int64
	Pings, Panics                                     int64

	Closed  map[string]int64 // connections by close reason, zeros left out
	Dropped map[string]int64 // messages dropped by close reason, zeros left out
}

// Stats returns a snapshot. It takes no lock but that of the delayed messages,
// for a moment.
func (e *Engine) Stats() Stats {
	c := &e.stats
	s := Stats{
		Open: e.open.Load(), HTTP: e.http.open.Load(), WaitingBytes: e.waiting.Load(),
		Delayed:  e.delayed.len(),
		Accepted: c.accepted.Load(), AcceptFailed: c.acceptFailed.Load(), Upgraded: c.upgraded.Load(),
		HTTPConns: c.http.Load(), Full: c.full.Load(),
		FramesIn: c.framesIn.Load(), FramesOut: c.framesOut.Load(), BytesOut: c.bytesOut.Load(),
		Unicasts: c.unicasts.Load(), Broadcasts: c.broadcasts.Load(), Scheduled: c.scheduled.Load(),
		Saturated: c.saturated.Load(), DelayedLost: c.delayedLost.Load(),
		Cancelled: c.cancelled.Load(), MissedSent: c.missedSent.Load(), MissedDropped: c.missedDrop.Load(),
		Pings: c.pings.Load(), Panics: c.panics.Load(),
		Closed: byReason(&c.closed), Dropped: byReason(&c.dropped),
	}
	return s
}

func byReason(counts *[numCloseReasons]atomic.Int64) map[string]int64 {
	m := make(map[string]int64)
	for r := range counts {
		if n := counts[r].Load(); n != 0 {
			m[CloseReason(r).String()] = n
		}
	}
	return m
}

// Attrs returns the snapshot for a log line.
func (s Stats) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.Int64("open", s.Open), slog.Int("delayed", s.Delayed), slog.Int64("waiting_bytes", s.WaitingBytes),
		slog.Int64("http", s.HTTP), slog.Int64("http_connections", s.HTTPConns), slog.Int64("accept_failed", s.AcceptFailed),
		slog.Int64("accepted", s.Accepted), slog.Int64("upgraded", s.Upgraded), slog.Int64("full", s.Full),
		slog.Int64("unicasts", s.Unicasts), slog.Int64("broadcasts", s.Broadcasts), slog.Int64("scheduled", s.Scheduled),
		slog.Int64("saturated", s.Saturated), slog.Int64("delayed_lost", s.DelayedLost),
		slog.Int64("cancelled", s.Cancelled), slog.Int64("missed_sent", s.MissedSent), slog.Int64("missed_dropped", s.MissedDropped),
		slog.Int64("frames_in", s.FramesIn), slog.Int64("frames_out", s.FramesOut), slog.Int64("bytes_out", s.BytesOut),
		slog.Int64("pings", s.Pings), slog.Int64("panics", s.Panics),
		slog.Any("closed", s.Closed), slog.Any("dropped", s.Dropped),
	}
}
