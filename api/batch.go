package api

import (
	"bytes"
	"slices"
	"sort"
	"strconv"
	"time"

	"gorelay/engine"
)

const (
	// maxItems is how many pushes one batch may hold.
	maxItems = 1000

	// itemDepth is how much deeper a push is nested in a batch.
	itemDepth = 2

	// resultRoom is the length of the longest result, in bytes.
	resultRoom = 192
)

// batchFields are the members of a batch's body.
var batchFields = [...]string{"items"}

// itemsWithin is how many items a batch can have whose answer is kept in that
// many bytes.
func itemsWithin(most int64) int {
	return sort.Search(maxItems, func(n int) bool { return costOf((n+1)*resultRoom) > most })
}

// result is what came of one push of a batch.
type result struct {
	refused *refusal // nil: accepted
	id      []byte
	due     int64 // noTime: at once
	matched int   // unless due
}

// batch answers a request with many pushes. They are independent: each is
// refused or accepted by itself.
func (s *Server) batch(j *job) *refusal {
	if refused := s.readBody(j); refused != nil {
		return refused
	}
	items, refused := readItems(j.body)
	if refused != nil {
		return refused
	}
	before, own, refused := s.attempt(j, belowBatch, len(items)*resultRoom)
	if refused != nil {
		return refused
	}
	if before != nil {
		j.answer = append(j.answer, before.answer...)
		return nil
	}
	if own != nil {
		defer s.promises.abandon(own)
	}
	results := s.deliverBatch(j, items, own)
	if refused := passing(results); refused != nil {
		return refused
	}
	accepted := acceptedOf(results)
	s.accepted.Add(uint64(accepted))
	s.refused.Add(uint64(len(items) - accepted))
	if accepted > 0 && own != nil {
		s.promises.finish(own, outcome{answer: bytes.Clone(j.answer)})
	}
	return nil
}

// readItems returns the raw items of a batch, which refer to body.
func readItems(body []byte) ([][]byte, *refusal) {
	var values [len(batchFields)][]byte
	if refused := readBodyObject(body, maxDepth+itemDepth, batchFields[:], values[:]); refused != nil {
		return nil, refused
	}
	if values[0] == nil {
		return nil, badField("items is missing: it must be an array of pushes")
	}
	items, ok := elements(nil, values[0], maxItems+1)
	switch {
	case !ok:
		return nil, badField("items must be an array")
	case len(items) == 0:
		return nil, badField("items must not be empty")
	case len(items) > maxItems:
		return nil, badField("items must have at most " + strconv.Itoa(maxItems) + " elements")
	}
	return items, nil
}

// deliverBatch judges and delivers the items, those that go out at once in
// their order, then all that wait in one commit. It leaves the answer in
// j.answer.
func (s *Server) deliverBatch(j *job, items [][]byte, own *attempt) []result {
	now := engine.Now()
	results := make([]result, len(items))
	var later []engine.Delayed
	j.ids = slices.Grow(j.ids[:0], len(items)*idLength)
	for i, raw := range items {
		p, refused := s.readItem(raw, now)
		if refused != nil {
			results[i].refused = refused
			continue
		}
		j.ids = s.name(&p, now, j.ids)
		results[i] = result{id: p.idText, due: p.due}
		if p.due != noTime {
			later = append(later, p.delayed(now))
			continue
		}
		var err error
		if results[i].matched, err = s.deliver(&p, now, nil); err != nil {
			results[i].refused = s.undelivered(err)
		}
	}
	j.answer = appendResults(j.answer[:0], results)
	if later == nil {
		return results
	}
	var receipt []byte
	if own != nil { // it says how it went if the commit succeeds
		receipt = appendReceipt(nil, own, &outcome{answer: j.answer})
	}
	if err := s.pusher.Schedule(later, receipt); err != nil {
		refused := s.undelivered(err)
		for i := range results {
			if results[i].refused == nil && results[i].due != noTime {
				results[i].refused = refused
			}
		}
		j.answer = appendResults(j.answer[:0], results)
	}
	return results
}

// readItem is readPush for a part of a body that was checked, and settles the
// push.
func (s *Server) readItem(raw []byte, now time.Time) (push, *refusal) {
	if raw[0] != '{' {
		return push{}, refusedItem
	}
	var values pushValues
	if refused := refusalOfObject(members(raw, pushFields[:], values[:])); refused != nil {
		return push{}, refused
	}
	p, refused := judgePush(&values, s.opts.MaxDelay)
	if refused == nil {
		refused = p.settle(now, &s.opts)
	}
	return p, refused
}

// passing is the refusal of the whole batch if every item was refused for what
// passes by itself, else nil.
func passing(results []result) *refusal {
	for i := range results {
		if results[i].refused == nil || !results[i].refused.retry {
			return nil
		}
	}
	return results[0].refused
}

func acceptedOf(results []result) (n int) {
	for i := range results {
		if results[i].refused == nil {
			n++
		}
	}
	return n
}

// appendResults appends the whole answer to a batch.
func appendResults(dst []byte, results []result) []byte {
	accepted := acceptedOf(results)
	dst = append(dst, answerHead+`{"accepted":`...)
	dst = strconv.AppendInt(dst, int64(accepted), 10)
	dst = append(dst, `,"refused":`...)
	dst = strconv.AppendInt(dst, int64(len(results)-accepted), 10)
	dst = append(dst, `,"results":[`...)
	for i := range results {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendResult(dst, &results[i])
	}
	return append(dst, `]}`+answerEnd...)
}

func appendResult(dst []byte, r *result) []byte {
	if r.refused != nil {
		return appendRefusal(dst, r.refused.msg)
	}
	dst = append(dst, `{"code":0,"msg":"ok","id":"`...)
	dst = append(dst, r.id...)
	dst = append(dst, '"')
	dst = appendFate(dst, r.due, r.matched)
	return append(dst, '}')
}
