package main

import "fmt"

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
// plain loop. The servers take turns with the same number of clients, and one
// at a time is connected: no client process may have the files for all.
func (b *bench) broadcast() error {
	b.report.run.Setup = fmt.Sprintf("%d connections, subjects of %d bytes, a round is %d broadcasts one at a time and %d bursts of %d",
		b.conns, b.payload, b.broadcasts, b.bursts, burst)
	return b.together(b.contenders(floorSockets), func(servers []*server) error {
		for round := range b.rounds {
			b.note("round %d of %d", round+1, b.rounds)
			var one, many []reading
			frame := 0
			for _, s := range servers {
				single, bursts, err := b.broadcastTo(s, &frame)
				if err != nil {
					return err
				}
				one = append(one, reading{s.name, single.each(b.conns * b.broadcasts)})
				if s.name == besideFloor { // it cannot do better with several
					many = append(many, one[len(one)-1])
				} else if b.bursts > 0 {
					many = append(many, reading{s.name, bursts.each(b.conns * b.bursts * burst)})
				}
			}
			b.report.compare("CPU per delivery, one at a time", "µs", lower, one)
			if b.bursts > 0 {
				b.report.compare(fmt.Sprintf("CPU per delivery, bursts of %d", burst), "µs", lower, many)
			}
			b.report.add("frame on the wire", "B", either, float64(frame))
		}
		return nil
	})
}

// broadcastTo is one server's part of a round. The relay sets the size of the
// frame, the floor keeps to it.
func (b *bench) broadcastTo(s *server, frame *int) (single, bursts work, err error) {
	f, err := b.connect(s, b.plan(s))
	sent := 0
	defer func() { b.settle(s, f, int64(sent)*int64(b.conns), &err) }()
	if err != nil {
		return single, bursts, err
	}
	send := func(times, atOnce int) func() error {
		return func() error {
			defer b.bar.begin(s.name+": broadcasts", int64(times*atOnce*b.conns), func() int64 {
				st, _ := f.state()
				return st.Delivered
			})()
			return b.broadcastGroups(s, f, &sent, times, atOnce, *frame)
		}
	}
	if err = send(warmUp, 1)(); err != nil {
		return single, bursts, err
	}
	if single, err = s.measure(send(b.broadcasts, 1)); err != nil {
		return single, bursts, err
	}
	b.judge(s, single)
	if s.name == underTest {
		st, _ := f.state()
		*frame = st.Frame
	}
	if b.bursts > 0 && s.name != besideFloor {
		bursts, err = s.measure(send(b.bursts, burst))
	}
	if err == nil {
		l, failed := f.lap()
		err = failed
		if failed == nil {
			b.report.timed(s.name, "of a broadcast, to each client", l.Broadcast)
		}
	}
	return single, bursts, err
}

// broadcastGroups sends broadcasts, each group when all clients have the one
// before. Several requests go out in one write: the server has all of them
// before it has delivered the first.
func (b *bench) broadcastGroups(s *server, f *fleet, sent *int, times, atOnce, frame int) error {
	var from *publisher
	if s.name != besideFloor {
		var err error
		if from, err = dialPublisher(s.endpoint); err != nil {
			return err
		}
		defer from.close()
	}
	for range times {
		now := b.clock.now()
		for range atOnce {
			*sent++
			m := message{to: everyone, seq: *sent, at: now}
			if from != nil {
				from.add(m, 0, b.payload)
			} else if err := orderFrame(s, floorFrame(m, b.payload, frame)); err != nil {
				return fmt.Errorf("the floor: %w", err)
			}
		}
		if from != nil {
			if err := from.flush(atOnce); err != nil {
				return err
			}
		}
		if err := f.await(int64(*sent) * int64(b.conns)); err != nil {
			return err
		}
	}
	return nil
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
