package main

import (
	"fmt"
	"net/netip"
	"time"
)

// plan is what a swarm shall be. It crosses to worker processes as JSON.
type plan struct {
	Server  string         `json:"server"` // its name, for errors
	Target  netip.AddrPort `json:"target"`
	WSPath  string         `json:"ws_path"`
	First   int            `json:"first"` // client i has the token USER_i, from here on
	Count   int            `json:"count"`
	Dialing int            `json:"dialing"` // handshakes under way at once
	Payload int            `json:"payload"` // bytes of the subjects that will come
	Sources []netip.Addr   `json:"sources"` // the clients' addresses in turn; empty leaves the choice to the kernel

	// Gather is how long the clients let events come together. The receiver of
	// a message is woken at the sender's expense; on loopback the server would
	// pay for our sleep with every single one. 0 reads at once: for latencies.
	Gather time.Duration `json:"gather"`

	// Tolerant counts a failed handshake and goes on. Otherwise it is the end.
	Tolerant bool `json:"tolerant"`
	// Persistent clients whose handshake has failed try again, until all are
	// in. It goes with Tolerant.
	Persistent bool `json:"persistent"`
	// Background clients give way to everything else of the bench.
	Background bool `json:"background"`
	// Stalled clients read nothing until they are told to.
	Stalled bool `json:"stalled"`
	// Patient clients outlive their server: that a connection ends without a
	// close frame is no fault. They come back with the next orderStorm.
	Patient bool `json:"patient"`
	// Lives is for clients that come and go or are closed by the server: they
	// must get everything between their first message and their last.
	Lives bool `json:"lives"`
}

// String names the swarm in errors.
func (p plan) String() string {
	return fmt.Sprintf("%d clients of %s at %v", p.Count, p.Server, p.Target)
}

// order is what a swarm is told while it runs.
type order struct {
	Do   string  `json:"do"`
	Rate float64 `json:"rate,omitempty"`
}

const (
	orderEnd    = "end"
	orderStorm  = "storm"  // all drop and come back at once
	orderChurn  = "churn"  // Rate clients a second leave and are followed by new ones
	orderResume = "resume" // those that stall read again
	orderLap    = "lap"    // hand over the latencies and begin anew
)

// status is what a swarm says of itself.
type status struct {
	Open      int        `json:"open"`      // connections now
	Waiting   int        `json:"waiting"`   // to be opened, or under way
	Delivered int64      `json:"delivered"` // messages
	Failed    int64      `json:"failed"`    // handshakes that failed
	Opened    int64      `json:"opened"`    // handshakes that succeeded
	Dismissed int64      `json:"dismissed"` // stalled clients that the server closed
	Frame     int        `json:"frame"`     // bytes of the last text frame, with header
	Obeyed    int        `json:"obeyed"`    // orders
	Reason    string     `json:"reason"`    // of the first failure or connection that the server closed
	Lap       *latencies `json:"lap,omitempty"`
}

func (s *status) add(o status) {
	s.Open += o.Open
	s.Waiting += o.Waiting
	s.Delivered += o.Delivered
	s.Failed += o.Failed
	s.Opened += o.Opened
	s.Dismissed += o.Dismissed
	s.Frame = max(s.Frame, o.Frame)
	if s.Reason == "" {
		s.Reason = o.Reason
	}
}

// result is a swarm's account.
type result struct {
	Tally   tally  `json:"tally"`
	Failure string `json:"failure,omitempty"` // what ended it before its time
}
