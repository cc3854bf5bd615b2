package api

import (
	"math"
	"time"

	"gorelay/engine"
)

// push reads, delivers and answers a push.
func (s *Server) push(j *job) *refusal {
	if refused := s.readBody(j); refused != nil {
		return refused
	}
	before, own, refused := s.attempt(j, "", 0)
	if refused != nil {
		return refused
	}
	if own != nil {
		defer s.promises.abandon(own)
	}
	maxDelay := s.opts.MaxDelay
	if before != nil {
		maxDelay = math.MaxInt64 // it was accepted under the settings of then
	}
	p, refused := readPush(j.body, maxDelay)
	if refused != nil {
		return refused
	}
	if before != nil {
		p.id, p.due = before.id, before.due
		p.idText = s.ids.append(j.ids[:0], p.id)
		j.answer = appendAccepted(j.answer, &p, before.matched)
		return nil
	}
	now := engine.Now()
	if refused := p.settle(now, &s.opts); refused != nil {
		return refused
	}
	if err := s.accept(&j.texts, &p, now, own); err != nil {
		return s.undelivered(err)
	}
	j.plain = p.due == noTime && len(j.body) <= maxInPlace/2
	return nil
}

// accept names, delivers, counts and answers a push that was settled at now,
// wherever it came in. own, nil without an Idempotency-Key, is then finished. An
// error means that nothing was delivered.
func (s *Server) accept(t *texts, p *push, now time.Time, own *attempt) error {
	t.ids = s.name(p, now, t.ids[:0])
	matched, err := s.deliver(p, now, own)
	if err != nil {
		return err
	}
	s.accepted.Add(1)
	if own != nil {
		s.promises.finish(own, outcome{id: p.id, due: p.due, matched: matched})
	}
	t.answer = appendAccepted(t.answer[:0], p, matched)
	return nil
}

// attempt begins a request with an Idempotency-Key on the path below the push
// path, and waits for a twin that is under way. answer is how many bytes of the
// answer are kept at most. Of before and own at most one is not nil; both are
// nil without a key.
func (s *Server) attempt(j *job, below string, answer int) (before *outcome, own *attempt, refused *refusal) {
	key, refused := idempotencyKey(&j.ctx.Request.Header)
	if key == nil || refused != nil {
		return nil, nil, refused
	}
	name, request := digestOf(key), digestOf([]byte(below), j.body)
	for {
		now := time.Now() // anew: a twin takes its time
		before, twin, own, refused := s.promises.begin(name, request, s.steady(now), answer)
		if twin != nil {
			<-twin.done
			continue
		}
		if own != nil {
			own.until = now.UnixMilli() + s.promises.window
		}
		if before != nil {
			s.replayed.Add(1)
			j.ctx.Response.Header.Set(replayedHeader, "true")
		}
		return before, own, refused
	}
}

// steady is now, in milliseconds on a clock that starts with the server and that
// nobody sets.
func (s *Server) steady(now time.Time) int64 { return now.Sub(s.began).Milliseconds() }

// name gives the push, which is accepted at now, its id. The text is appended
// to room.
func (s *Server) name(p *push, now time.Time, room []byte) []byte {
	p.id = s.ids.next(now, s.pusher.NewKey())
	start := len(room)
	room = s.ids.append(room, p.id)
	p.idText = room[start:]
	return room
}

// deliver hands the push to the pusher, now or for later. What is for later
// takes a receipt of own, if that is not nil, with it.
func (s *Server) deliver(p *push, now time.Time, own *attempt) (matched int, err error) {
	if p.due != noTime {
		var receipt []byte
		if own != nil {
			receipt = appendReceipt(nil, own, &outcome{id: p.id, due: p.due})
		}
		return unmatched, s.pusher.Schedule([]engine.Delayed{p.delayed(now)}, receipt)
	}
	frame, _ := encode(p, now.UnixMilli())
	switch {
	case p.tokens != nil:
		return s.pusher.Multicast(p.tokens, frame)
	case p.user == "":
		return s.pusher.Broadcast(frame)
	}
	return s.pusher.Send(p.user, frame)
}

// delayed is the push, accepted at now, as the pusher keeps it until it is due.
func (p *push) delayed(now time.Time) engine.Delayed {
	d := engine.Delayed{
		Key:     p.id.key,
		Created: time.UnixMilli(p.id.ms),
		Due:     now.Add(time.UnixMilli(p.due).Sub(now)), // from now on: a clock that jumps does not move it
		Tokens:  p.tokens,
		List:    p.tokens != nil,
	}
	if p.user != "" {
		d.Tokens = []string{p.user}
	}
	d.Frame, d.Stamp = encode(p, p.due)
	return d
}

// undelivered is the answer to a push that the pusher returned err for. An
// error that nobody expects is logged.
func (s *Server) undelivered(err error) *refusal {
	r := refusalOf(err)
	if r == refusedInternal {
		s.opts.Logger.Error("push failed", "err", err)
	}
	return r
}
