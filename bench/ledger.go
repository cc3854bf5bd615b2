package main

// tally is the account of a swarm's messages. Everything but expected and
// delivered must be 0.
type tally struct {
	Expected   int64 `json:"expected"`     // messages that had to come
	Delivered  int64 `json:"delivered"`    // of these, came at least once
	Lost       int64 `json:"lost"`         // did not come
	Duplicated int64 `json:"duplicated"`   // came once more
	Disordered int64 `json:"out_of_order"` // came after one that was sent later
	Misrouted  int64 `json:"misrouted"`    // came to a client they were not for
	Damaged    int64 `json:"damaged"`      // are not what was sent
	Closed     int64 `json:"closed"`       // clients that the server closed
}

// faults is the number of things that should not have happened.
func (t tally) faults() int64 {
	return t.Lost + t.Duplicated + t.Disordered + t.Misrouted + t.Damaged + t.Closed
}

func (t *tally) add(o tally) {
	t.Expected += o.Expected
	t.Delivered += o.Delivered
	t.Lost += o.Lost
	t.Duplicated += o.Duplicated
	t.Disordered += o.Disordered
	t.Misrouted += o.Misrouted
	t.Damaged += o.Damaged
	t.Closed += o.Closed
}

// ledger judges the messages of every client of a swarm. Each client has to
// get 1, 2, 3 and so on, of its own messages and of those to everyone. It
// costs 16 bytes a client while all is well; sequence numbers that came too
// early are kept one by one.
type ledger struct {
	first   int // number of the first client
	reader  subjectReader
	streams [2][]place
	early   map[arrival]bool // came before a smaller one
	tally   tally
}

// place is where one client stands in one of the two streams.
type place struct {
	next   int32 // all up to this one have come
	newest int32 // the largest that has come
}

// unborn is the place of a client that has joined and got nothing: whatever
// comes first is its first.
const unborn = -1

// arrival is one message at one client.
type arrival struct {
	client, seq int32
	toAll       bool
}

func newLedger(first, clients, subjectBytes int) *ledger {
	return &ledger{
		first:   first,
		reader:  subjectReader{size: subjectBytes},
		streams: [2][]place{make([]place, clients), make([]place, clients)},
		early:   make(map[arrival]bool),
	}
}

// take judges one message that has come to a client. ok is true if it counts
// as delivered.
func (l *ledger) take(client int, payload []byte) (m message, ok bool) {
	m, ok = l.reader.read(payload)
	switch {
	case !ok || m.seq < 1:
		l.tally.Damaged++
		return m, false
	case m.to != everyone && m.to != l.first+client:
		l.tally.Misrouted++
		return m, false
	}
	toAll := m.to == everyone
	p := l.place(client, toAll)
	seq := int32(m.seq)
	if p.next == unborn {
		p.next, p.newest = seq-1, seq-1
	}
	next := p.next + 1
	if seq < next || l.early[arrival{int32(client), seq, toAll}] {
		l.tally.Duplicated++
		return m, false
	}
	l.tally.Delivered++
	if seq < p.newest {
		l.tally.Disordered++
	} else {
		p.newest = seq
	}
	if seq > next {
		l.early[arrival{int32(client), seq, toAll}] = true
		return m, true
	}
	for {
		p.next = next
		next++
		a := arrival{int32(client), next, toAll}
		if !l.early[a] {
			return m, true
		}
		delete(l.early, a)
	}
}

func (l *ledger) place(client int, toAll bool) *place {
	if toAll {
		return &l.streams[1][client]
	}
	return &l.streams[0][client]
}

// leave ends the life of a client that comes and goes: what it missed between
// two messages that it got is lost, what comes after its end is not.
func (l *ledger) leave(client int) {
	for _, toAll := range [2]bool{false, true} {
		p := l.place(client, toAll)
		for seq := p.next + 1; p.next != unborn && seq <= p.newest; seq++ {
			a := arrival{int32(client), seq, toAll}
			if !l.early[a] {
				l.tally.Lost++
			}
			delete(l.early, a)
		}
		p.next, p.newest = unborn, unborn
	}
}

// settle is the account when nothing more will come and expected messages had
// to.
func (l *ledger) settle(expected int64) tally {
	t := l.tally
	t.Expected, t.Lost = expected, expected-t.Delivered
	return t
}

// settleLives is the account of clients that came and went.
func (l *ledger) settleLives() tally {
	for i := range l.streams[0] {
		l.leave(i)
	}
	t := l.tally
	t.Expected = t.Delivered + t.Lost
	return t
}
