package main

import (
	"fmt"
	"math"
	"time"
)

// restTime is how long a server with all its connections is watched while
// nothing happens.
const restTime = 2 * time.Second

// idle measures what a connection costs that has a token and does nothing, in
// memory and in processor time, and what it costs to open it.
//
// Memory is the slope between two sizes, so that what the program needs
// anyway cancels out. Each size has a fresh server: in one that grew from the
// small size to the large, the garbage of the first clients would make room
// for the next, and the slope would hide it.
func (b *bench) idle() error {
	b.report.run.Setup = fmt.Sprintf("%d and %d connections, %d handshakes at a time", b.small, b.large, b.dialing)
	if b.target != "" {
		b.report.warn("both sizes were measured on the one server that was given: what the first left behind makes room for the second, and the slope is too small")
	}
	for round := range b.rounds {
		b.note("round %d of %d", round+1, b.rounds)
		var rss, pss, anonymous, handshakes, rest []reading
		for _, start := range b.contenders(floorSockets) {
			few, err := b.ramp(start, b.small, false)
			if err != nil {
				return err
			}
			many, err := b.ramp(start, b.large, true)
			if err != nil {
				return err
			}
			low, high, name := few.memory, many.memory, few.name
			slope := func(high, low int64) reading {
				if high == 0 {
					return reading{name, math.NaN()} // no -pid
				}
				return reading{name, float64(high-low) / float64(b.large-b.small)}
			}
			handshakes = append(handshakes, reading{name, many.opening.each(b.large)})
			if name == besideFloor {
				continue // it keeps nothing but a number a connection
			}
			rss = append(rss, slope(high.rss, low.rss))
			pss = append(pss, slope(high.pss, low.pss))
			anonymous = append(anonymous, slope(high.anonymous, low.anonymous))
			if !math.IsNaN(many.atRest) {
				rest = append(rest, reading{name, many.atRest})
			}
			if name == underTest && high.rss > 0 {
				b.report.add(fmt.Sprintf("RSS with %d connections", b.small), "KiB", lower, float64(low.rss>>10))
				b.report.add(fmt.Sprintf("RSS with %d connections", b.large), "KiB", lower, float64(high.rss>>10))
				b.report.add(fmt.Sprintf("peak RSS with %d connections", b.large), "KiB", lower, float64(high.peakRSS>>10))
			}
		}
		b.report.compare("RSS per connection", "B", lower, rss)
		b.report.compare("Pss per connection", "B", lower, pss)
		b.report.compare("private memory per connection", "B", lower, anonymous)
		b.report.compare("CPU per handshake", "µs", lower, handshakes)
		for _, r := range rest {
			b.report.add(r.server+" CPU in a second of rest", "µs", lower, r.value)
		}
	}
	return nil
}

// ramped is a fresh server with its connections.
type ramped struct {
	name    string
	memory  memory  // when it has come to rest
	opening work    // the way there
	atRest  float64 // processor time in a second after that, in microseconds; NaN if it is not known
}

// ramp opens n connections to a fresh server, and watches it at rest if that is
// wanted.
func (b *bench) ramp(start starter, n int, watch bool) (r ramped, err error) {
	r.atRest = math.NaN()
	err = b.with(start, func(s *server) (err error) {
		r.name = s.name
		var f *fleet
		defer func() { b.settle(s, f, 0, &err) }()
		r.opening, err = s.measure(func() (err error) {
			p := b.plan(s)
			p.Count, p.Payload = n, minSubject
			f, err = b.connect(s, p)
			return err
		})
		if err != nil {
			return err
		}
		b.judge(s, r.opening)
		if r.memory, err = s.memory(); err != nil || !watch || s.name == besideFloor {
			return err // nobody asks how a floor rests
		}
		r.atRest, err = s.rest()
		return err
	})
	return r, err
}

// rest is the processor time in a second in which nothing happens, in
// microseconds; NaN if the process is not known.
func (s *process) rest() (each float64, err error) {
	if !s.known() {
		return math.NaN(), nil
	}
	before, err := s.cpu()
	if err != nil {
		return 0, err
	}
	time.Sleep(restTime)
	after, err := s.cpu()
	return float64((after - before).Microseconds()) / restTime.Seconds(), err
}
