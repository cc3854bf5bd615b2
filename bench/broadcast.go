package main

import (
	"fmt"
	"slices"
)

const (
	// burst is how many broadcasts are sent at once in the second part of the
	// broadcast workload.
	burst = 5

	// warmUp is how many broadcasts a server sends before its work is measured:
	// the first write to a socket costs more than the next.
	warmUp = 2
)

// broadcast measures what it costs to deliver a message to everybody: first
// one message at a time, each sent when all clients have the one before, then
// in bursts. The floor writes one frame of the same size to every socket in a
// plain loop. The servers take turns, broadcast by broadcast.
func (b *bench) broadcast() error {
	b.report.run.Setup = fmt.Sprintf("%d connections, subjects of %d bytes, a round is %d broadcasts one at a time and %d bursts of %d",
		b.conns, b.payload, b.broadcasts, b.bursts, burst)
	return b.together(b.contenders(floorSockets), func(servers []*server) error {
		return b.sideBySide(servers, "", func(all []*contestant) error {
			frame := 0 // the relay's, to which the floor keeps
			for _, c := range all {
				for range warmUp {
					if err := b.broadcastTurn(c, 1, frame); err != nil {
						return err
					}
				}
				if st, _ := c.fleet.state(); c.name == underTest {
					frame = st.Frame
				}
				if _, err := c.fleet.lap(); err != nil {
					return err
				}
			}
			for round := range b.rounds {
				b.note("round %d of %d", round+1, b.rounds)
				if err := b.broadcastRound(all, frame); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// broadcastRound lets the servers take turns, and enters what each has cost.
func (b *bench) broadcastRound(all []*contestant, frame int) error {
	works, err := b.inTurns(all, b.broadcasts, func(c *contestant) error { return b.broadcastTurn(c, 1, frame) })
	if err != nil {
		return err
	}
	var one []reading
	for i, c := range all {
		one = append(one, reading{c.name, works[i].each(b.conns * b.broadcasts)})
		b.judge(c.server, works[i])
	}
	b.report.compare("CPU per delivery, one at a time", "µs", lower, one)
	if b.bursts > 0 {
		if err := b.burstRound(all, one, frame); err != nil {
			return err
		}
	}
	for _, c := range all {
		l, err := c.fleet.lap()
		if err != nil {
			return err
		}
		b.report.timed(c.name, "of a broadcast, to each client", l.Broadcast)
	}
	b.report.add("frame on the wire", "B", either, float64(frame))
	return nil
}

// burstRound is the part of a round with several broadcasts at once. The floor
// cannot do better with several: it keeps what it has done with one.
func (b *bench) burstRound(all []*contestant, one []reading, frame int) error {
	able := slices.DeleteFunc(slices.Clone(all), func(c *contestant) bool { return c.name == besideFloor })
	works, err := b.inTurns(able, b.bursts, func(c *contestant) error { return b.broadcastTurn(c, burst, frame) })
	if err != nil {
		return err
	}
	var many []reading
	for i, c := range able {
		many = append(many, reading{c.name, works[i].each(b.conns * b.bursts * burst)})
	}
	for _, r := range one {
		if r.server == besideFloor {
			many = append(many, r)
		}
	}
	b.report.compare(fmt.Sprintf("CPU per delivery, bursts of %d", burst), "µs", lower, many)
	return nil
}

// broadcastTurn sends so many broadcasts at once, and waits until all clients
// have them. Several requests go out in one write: the server has all of them
// before it has delivered the first. The floor's frames have this size.
func (b *bench) broadcastTurn(c *contestant, atOnce, frame int) error {
	n := int64(atOnce * b.conns)
	before := c.sent
	defer b.bar.begin(c.name+": broadcasts", n, func() int64 { return c.delivered() - before })()
	var from *publisher
	if c.name != besideFloor {
		var err error
		if from, err = dialPublisher(c.endpoint); err != nil {
			return err
		}
		defer from.close()
	}
	now := b.clock.now()
	for range atOnce {
		c.sent += int64(b.conns)
		m := message{to: everyone, seq: int(c.sent) / b.conns, at: now}
		if from != nil {
			from.add(m, 0, b.payload)
		} else if err := orderFrame(c.server, floorFrame(m, b.payload, frame)); err != nil {
			return fmt.Errorf("the floor: %w", err)
		}
	}
	if from != nil {
		if err := from.flush(atOnce); err != nil {
			return err
		}
	}
	return c.fleet.await(c.sent)
}

// floorFrame is a frame of size bytes like the relay's: the subject, and
// spaces where the relay has its envelope.
func floorFrame(m message, subjectBytes, size int) []byte {
	payload := appendSubject(nil, m, subjectBytes)
	for len(textFrame(payload)) < size {
		payload = append(payload, ' ')
	}
	return textFrame(payload)
}
