package main

import "fmt"

// mixed measures what single pushes wait for while broadcasts run: an open
// loop of unicasts, first alone, then with broadcasts at a fixed rate.
func (b *bench) mixed() error {
	b.report.run.Setup = fmt.Sprintf("%d connections, subjects of %d bytes; a round is %s, before that as long without broadcasts",
		b.conns, b.payload, b.setting())
	return b.together(b.contenders(""), func(servers []*server) error {
		for round := range b.rounds {
			b.note("round %d of %d", round+1, b.rounds)
			var alone, beside quantiles
			for _, s := range servers {
				t := b.newTraffic(s, b.probes)
				t.unicast(b.rate)
				_, l, err := b.steady(s, t)
				if err != nil {
					return err
				}
				alone.add(s.name, l.Unicast)
				b.report.timed(s.name, "of a push alone", l.Unicast)

				if _, l, err = b.steady(s, b.usual(s)); err != nil {
					return err
				}
				beside.add(s.name, l.Unicast)
				b.report.timed(s.name, "of a push beside broadcasts", l.Unicast)
				b.report.timed(s.name, "of a broadcast, to each client", l.Broadcast)
			}
			beside.enter(b, "push beside broadcasts")
			alone.enter(b, "push alone")
		}
		return nil
	})
}
