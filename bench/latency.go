package main

import (
	"slices"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// latencies are what a swarm has timed, in microseconds.
type latencies struct {
	Handshakes *spread `json:"handshakes"` // from connect to the 101
	Unicast    *spread `json:"unicast"`    // from the intended time of a push
	Broadcast  *spread `json:"broadcast"`
	Early      int64   `json:"early"` // delayed messages that came before their time
}

func newLatencies() *latencies {
	return &latencies{Handshakes: newSpread(), Unicast: newSpread(), Broadcast: newSpread()}
}

func (l *latencies) merge(o *latencies) {
	l.Handshakes.merge(o.Handshakes)
	l.Unicast.merge(o.Unicast)
	l.Broadcast.merge(o.Broadcast)
	l.Early += o.Early
}

// spread is an HDR histogram of microseconds, three digits exact, that can
// cross from process to process. Its counts are made with the first value.
type spread struct {
	h *hdr.Histogram
}

const longest = 3600 * 1e6 // microseconds; what takes longer counts as this

func newSpread() *spread { return &spread{} }

// record enters a time in nanoseconds.
func (s *spread) record(ns int64) {
	if s.h == nil {
		s.h = hdr.New(1, longest, 3)
	}
	_ = s.h.RecordValue(min(max(ns/1000, 0), longest)) // always within its range
}

func (s *spread) merge(o *spread) {
	if o.count() == 0 {
		return
	}
	if s.h == nil {
		s.h = hdr.New(1, longest, 3)
	}
	s.h.Merge(o.h)
}

func (s *spread) count() int64 {
	if s == nil || s.h == nil {
		return 0
	}
	return s.h.TotalCount()
}

// at is the time in microseconds that this percentage did not exceed.
func (s *spread) at(percent float64) float64 {
	if s.count() == 0 {
		return 0
	}
	if percent == 100 {
		return float64(s.h.Max())
	}
	return float64(s.h.ValueAtPercentile(percent))
}

// curve is the distribution as pairs of percentage and microseconds, finer
// towards the top.
func (s *spread) curve() (points [][2]float64) {
	if s.count() == 0 {
		return nil
	}
	for _, b := range s.h.CumulativeDistributionWithTicks(5) {
		points = append(points, [2]float64{b.Quantile, float64(b.ValueAt)})
	}
	return slices.CompactFunc(points, func(a, b [2]float64) bool { return a == b })
}

// MarshalText and UnmarshalText carry it as the V2 encoding of the format.
func (s *spread) MarshalText() ([]byte, error) {
	if s.count() == 0 {
		return nil, nil
	}
	return s.h.Encode(hdr.V2CompressedEncodingCookieBase)
}

func (s *spread) UnmarshalText(text []byte) (err error) {
	if len(text) > 0 {
		s.h, err = hdr.Decode(text)
	}
	return err
}
