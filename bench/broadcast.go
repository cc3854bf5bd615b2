package main

import "fmt"

// warmUp is how many broadcasts a server sends before its work is measured:
// the first write to a socket costs more than the next.
const warmUp = 2

// broadcast measures what it costs to deliver a message to everybody: first
// one message at a time, each sent when all clients have the one before, then
// in bursts. The floor writes one frame of the same size to every socket in a
// plain loop. Relay and floor take turns with the same number of clients, and
// one at a time is connected: no client process may have the files for both.
func (b *bench) broadcast() error {
	b.report.run.Setup = fmt.Sprintf("%d connections, subjects of %d bytes, a round is %d broadcasts one at a time and %d bursts of %d",
		b.conns, b.payload, b.broadcasts, b.bursts, burst)
	return with(b.startRelay, func(relay *server) error {
		return with(func() (*server, error) { return b.startFloor(floorSockets) }, func(floor *server) error {
			for round := range b.rounds {
				b.note("round %d of %d", round+1, b.rounds)
				single, bursts, frameSize, err := b.broadcastRelay(relay)
				if err != nil {
					return err
				}
				least, err := b.broadcastFloor(floor, frameSize)
				if err != nil {
					return err
				}
				r := &b.report
				one := single.each(b.conns * b.broadcasts)
				low := least.each(b.conns * b.broadcasts)
				r.add("relay CPU per delivery, one at a time", "µs", one)
				r.add("floor CPU per delivery", "µs", low)
				r.add("relay CPU per delivery ÷ floor, one at a time", "", one/low)
				if b.bursts > 0 {
					each := bursts.each(b.conns * b.bursts * burst)
					r.add(fmt.Sprintf("relay CPU per delivery, bursts of %d", burst), "µs", each)
					r.add(fmt.Sprintf("relay CPU per delivery ÷ floor, bursts of %d", burst), "", each/low)
				}
				r.add("relay CPU in the kernel, one at a time", "%", single.kernel())
				r.add("server's core used by others meanwhile", "%", max(single.others, least.others))
				r.add("frame on the wire", "B", float64(frameSize))
			}
			return nil
		})
	})
}

// broadcastRelay is the relay's half of a round.
func (b *bench) broadcastRelay(s *server) (single, bursts work, frameSize int, err error) {
	clients, err := dialSwarm(s.addr, b.conns, b.dialing, b.payload)
	if err != nil {
		return single, bursts, 0, err
	}
	sent := 0
	defer func() { b.settle(s, clients, sent*b.conns, &err) }()
	// Several requests go out in one write: the server has all of them before
	// it has delivered the first.
	send := func(times, atOnce int) func() error {
		return func() error {
			from, err := dialPublisher(s.addr, apiKey)
			if err != nil {
				return err
			}
			defer from.close()
			for range times {
				for range atOnce {
					sent++
					from.add(everyone, sent, b.payload)
				}
				if err := from.flush(atOnce); err != nil {
					return err
				}
				if err := clients.await(int64(sent) * int64(b.conns)); err != nil {
					return err
				}
			}
			return nil
		}
	}
	if err = send(warmUp, 1)(); err != nil {
		return single, bursts, 0, err
	}
	if single, err = s.measure(send(b.broadcasts, 1)); err != nil {
		return single, bursts, 0, err
	}
	frameSize = int(clients.frameSize.Load())
	if b.bursts > 0 {
		bursts, err = s.measure(send(b.bursts, burst))
	}
	return single, bursts, frameSize, err
}

// broadcastFloor is the floor's half of a round.
func (b *bench) broadcastFloor(s *server, frameSize int) (w work, err error) {
	clients, err := dialSwarm(s.addr, b.conns, b.dialing, b.payload)
	if err != nil {
		return w, err
	}
	sent := 0
	defer func() { b.settle(s, clients, sent*b.conns, &err) }()
	send := func(times int) func() error {
		return func() error {
			for range times {
				sent++
				if err := order(s, floorFrame(sent, b.payload, frameSize)); err != nil {
					return fmt.Errorf("the floor: %w", err)
				}
				if err := clients.await(int64(sent) * int64(b.conns)); err != nil {
					return err
				}
			}
			return nil
		}
	}
	if err = send(warmUp)(); err != nil {
		return w, err
	}
	return s.measure(send(b.broadcasts))
}

// floorFrame is a frame of size bytes like the relay's: the subject, and
// spaces where the relay has its envelope.
func floorFrame(seq, subjectBytes, size int) []byte {
	payload := appendSubject(nil, everyone, seq, subjectBytes)
	for len(textFrame(payload)) < size {
		payload = append(payload, ' ')
	}
	return textFrame(payload)
}
