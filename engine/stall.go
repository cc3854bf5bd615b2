package engine

import "sync"

// stallList is a loop's connections whose sockets are full. Few are, most of
// the time; those that stay so too long, or hold too much, are closed.
type stallList struct {
	mu    sync.Mutex
	conns []*Conn
	outs  []*outbound // conns[i].out, whose stallPos is i
	loop  *loop
}

// add enters c. The caller holds c.mu.
func (s *stallList) add(c *Conn, o *outbound) {
	s.mu.Lock()
	o.stallPos.Store(int32(len(s.conns)))
	s.conns = append(s.conns, c)
	s.outs = append(s.outs, o)
	first := len(s.conns) == 1
	s.mu.Unlock()
	if first {
		s.loop.run(s.loop.arm) // somebody must look at the clock
	}
}

// remove takes o's connection out, if it is in. The caller holds its mu.
func (s *stallList) remove(o *outbound) {
	if o.stallPos.Load() < 0 {
		return
	}
	s.mu.Lock()
	last := len(s.conns) - 1
	i := o.stallPos.Load()
	s.conns[i], s.outs[i] = s.conns[last], s.outs[last]
	s.outs[i].stallPos.Store(i)
	s.conns[last], s.outs[last] = nil, nil
	s.conns, s.outs = s.conns[:last], s.outs[:last]
	o.stallPos.Store(-1)
	s.mu.Unlock()
}

func (s *stallList) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (s *stallList) appendTo(dst []*Conn) []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(dst, s.conns...)
}

// expire closes those whose socket took no byte since before.
func (s *stallList) expire(before int64) {
	for _, c := range s.appendTo(nil) {
		c.mu.Lock()
		if c.state == stateOpen && c.blocked && c.out.progress <= before {
			c.closeLocked(CloseStalled, 0, "")
		}
		c.mu.Unlock()
	}
}
