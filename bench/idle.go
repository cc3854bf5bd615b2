package main

import "fmt"

// idle measures what a connection costs that has a token and does nothing, and
// what it costs to open it.
//
// Memory is the slope between two sizes, so that what the program needs
// anyway cancels out. Each size has a fresh server: in one that grew from the
// small size to the large, the garbage of the first clients would make room
// for the next, and the slope would hide it.
func (b *bench) idle() error {
	b.report.run.Setup = fmt.Sprintf("%d and %d connections, %d handshakes at a time", b.small, b.large, b.dialing)
	for round := range b.rounds {
		b.note("round %d of %d", round+1, b.rounds)
		low, _, err := b.ramp(b.startRelay, b.small)
		if err != nil {
			return err
		}
		high, relay, err := b.ramp(b.startRelay, b.large)
		if err != nil {
			return err
		}
		_, floor, err := b.ramp(func() (*server, error) { return b.startFloor(floorSockets) }, b.large)
		if err != nil {
			return err
		}
		slope := func(high, low int64) float64 { return float64(high-low) / float64(b.large-b.small) }
		r := &b.report
		r.add("RSS per connection (slope)", "B", slope(high.rss, low.rss))
		r.add("Pss per connection (slope)", "B", slope(high.pss, low.pss))
		r.add("private anonymous memory per connection (slope)", "B", slope(high.anonymous, low.anonymous))
		r.add(fmt.Sprintf("RSS with %d connections", b.small), "KiB", float64(low.rss>>10))
		r.add(fmt.Sprintf("RSS with %d connections", b.large), "KiB", float64(high.rss>>10))
		r.add(fmt.Sprintf("peak RSS with %d connections", b.large), "KiB", float64(high.peakRSS>>10))
		mine, least := relay.each(b.large), floor.each(b.large)
		r.add("relay CPU per handshake", "µs", mine)
		r.add("floor CPU per handshake", "µs", least)
		r.add("relay CPU per handshake ÷ floor", "", mine/least)
		r.add("relay handshake CPU in the kernel", "%", relay.kernel())
		r.add("server's core used by others meanwhile", "%", max(relay.others, floor.others))
	}
	return nil
}

// ramp opens n connections to a fresh server and returns its size when it has
// come to rest, and the processor time of the way there.
func (b *bench) ramp(start func() (*server, error), n int) (m memory, w work, err error) {
	err = with(start, func(s *server) (err error) {
		var clients *swarm
		w, err = s.measure(func() (err error) {
			clients, err = dialSwarm(s.addr, n, b.dialing, minSubject)
			return err
		})
		if clients == nil {
			return err
		}
		defer b.settle(s, clients, 0, &err)
		if err == nil {
			m, err = s.memory()
		}
		return err
	})
	return m, w, err
}
