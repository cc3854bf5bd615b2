package main

// turnsOfRound is how many times the servers take turns within a round. How fast
// a machine is changes within seconds, with what else it does: the shorter the
// turns, the more all servers have of the same machine.
const turnsOfRound = 4

// contestant is a server whose clients stay connected while others have their
// turns.
type contestant struct {
	*server
	fleet *fleet // nil if it delivers nothing
	sent  int64  // messages for the clients
}

// sideBySide connects clients to all of these servers but those that silent
// names, and closes them when do has ended.
func (b *bench) sideBySide(servers []*server, silent string, do func([]*contestant) error) (err error) {
	all := make([]*contestant, 0, len(servers))
	defer func() {
		for _, c := range all {
			b.settle(c.server, c.fleet, c.sent, &err)
		}
	}()
	for _, s := range servers {
		c := &contestant{server: s}
		all = append(all, c)
		if s.name == silent {
			continue
		}
		if c.fleet, err = b.connectApart(s, b.plan(s)); err != nil {
			return err
		}
	}
	return do(all)
}

// inTurns measures what the contestants do in so many turns each.
func (b *bench) inTurns(all []*contestant, turns int, turn func(*contestant) error) (each []work, err error) {
	meters := make([]*meter, len(all))
	for i, c := range all {
		if meters[i], err = c.server.meter(); err != nil {
			return nil, err
		}
	}
	for range turns {
		for i, c := range all {
			if err = meters[i].turn(func() error { return turn(c) }); err != nil {
				return nil, err
			}
		}
	}
	for _, m := range meters {
		w, err := m.read()
		if err != nil {
			return nil, err
		}
		each = append(each, w)
	}
	return each, nil
}

// delivered is how many messages the clients have got.
func (c *contestant) delivered() int64 {
	st, _ := c.fleet.state()
	return st.Delivered
}
