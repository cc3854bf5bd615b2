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
// get 1, 2, 3 and so on. It costs a few bytes a client while all is well;
// sequence numbers that came too early are kept one by one.
type ledger struct {
	reader subjectReader
	next   []int32          // by client: the least number that has not come
	newest []int32          // by client: the largest that has come
	early  map[arrival]bool // came before a smaller one
	tally  tally
}

// arrival is one message at one client.
type arrival struct{ client, seq int32 }

func newLedger(clients, subjectBytes int) *ledger {
	return &ledger{
		reader: subjectReader{size: subjectBytes},
		next:   make([]int32, clients),
		newest: make([]int32, clients),
		early:  make(map[arrival]bool),
	}
}

// take judges one message that has come to a client.
func (l *ledger) take(client int, message []byte) {
	to, n, ok := l.reader.read(message)
	switch {
	case !ok || n < 1:
		l.tally.Damaged++
		return
	case to != everyone && to != client:
		l.tally.Misrouted++
		return
	}
	seq := int32(n)
	next := l.next[client] + 1
	if seq < next || l.early[arrival{int32(client), seq}] {
		l.tally.Duplicated++
		return
	}
	l.tally.Delivered++
	if seq < l.newest[client] {
		l.tally.Disordered++
	} else {
		l.newest[client] = seq
	}
	if seq > next {
		l.early[arrival{int32(client), seq}] = true
		return
	}
	for {
		l.next[client] = next
		next++
		a := arrival{int32(client), next}
		if !l.early[a] {
			return
		}
		delete(l.early, a)
	}
}

// settle is the account when nothing more will come and expected messages had
// to.
func (l *ledger) settle(expected int64) tally {
	t := l.tally
	t.Expected, t.Lost = expected, expected-t.Delivered
	return t
}
