package api

import (
	"errors"
	"strconv"

	"gorelay/engine"
)

// lookUp answers what a push is that still waits.
func (s *Server) lookUp(j *job) *refusal {
	id, d, refused := s.find(j.id)
	switch {
	case refused != nil:
		return refused
	case d == nil:
		return s.gone(id, refusedFired)
	}
	j.answer = append(j.answer, answerHead...)
	j.answer = s.appendScheduled(j.answer, d)
	j.answer = append(j.answer, answerEnd...)
	return nil
}

// cancel takes a delayed push back.
func (s *Server) cancel(j *job) *refusal {
	id, _, refused := s.find(j.id)
	if refused != nil && refused != refusedUnread { // what cannot be read can be taken back
		return refused
	}
	switch err := s.pusher.Cancel(id.key); {
	case errors.Is(err, engine.ErrNotWaiting):
		return s.gone(id, refusedTooLate)
	case err != nil:
		return s.undelivered(err)
	}
	j.answer = append(j.answer, answerHead+`{"id":"`...)
	j.answer = s.ids.append(j.answer, id)
	j.answer = append(j.answer, `","status":"cancelled"}`+answerEnd...)
	return nil
}

// gone says why a push of ours does not wait: it was taken back, or it has fired.
func (s *Server) gone(id pushID, fired *refusal) *refusal {
	switch cancelled, err := s.pusher.Cancelled(id.key); {
	case err != nil:
		return refusalOfLook(err)
	case cancelled:
		return refusedCancelled
	}
	return fired
}

// find reads the id of a push and finds the push, nil if it does not wait. One
// that came at another time than the id says has an id of its own: the code in
// this one is right by chance.
func (s *Server) find(text []byte) (pushID, *engine.Delayed, *refusal) {
	id, ok := s.ids.parse(text)
	if !ok {
		return id, nil, refusedID
	}
	d, err := s.pusher.Waiting(id.key)
	switch {
	case errors.Is(err, engine.ErrNotWaiting):
		return id, nil, nil
	case err != nil:
		return id, nil, refusalOfLook(err)
	case d.Created.UnixMilli() != id.ms:
		return id, nil, refusedID
	}
	return id, &d, nil
}

// appendScheduled appends what is told about a push that waits.
func (s *Server) appendScheduled(dst []byte, d *engine.Delayed) []byte {
	dst = append(dst, `{"id":"`...)
	dst = s.ids.append(dst, pushID{d.Created.UnixMilli(), d.Key})
	dst = append(dst, `","status":"scheduled","deliver_at":`...)
	dst = strconv.AppendInt(dst, d.Due.UnixMilli(), 10)
	dst = append(dst, `,"created_at":`...)
	dst = strconv.AppendInt(dst, d.Created.UnixMilli(), 10)
	dst = append(dst, `,"broadcast":`...)
	dst = strconv.AppendBool(dst, len(d.Tokens) == 0)
	dst = append(dst, `,"target_user_id":`...)
	if len(d.Tokens) == 1 && !d.List {
		dst = appendQuoted(dst, d.Tokens[0])
	} else {
		dst = append(dst, `""`...)
	}
	if d.List {
		dst = append(dst, `,"tokens":[`...)
		for i, token := range d.Tokens {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendQuoted(dst, token)
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}
