package api

import (
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"unicode/utf8"

	"gorelay/engine"
)

const (
	// defaultLimit and maxLimit are how many pushes one page of a listing has,
	// if nothing is said, and at most.
	defaultLimit = 100
	maxLimit     = 1000

	// listStep is how many pushes are fetched at once, which takes a look at
	// all that wait. Each can name as many users as a body holds, so the memory
	// of a listing is this many bodies at the worst.
	listStep = 200

	// maxPageBytes is the size from which on a page ends before its limit.
	maxPageBytes = 1 << 20
)

// listing is a question for the pushes that wait.
type listing struct {
	token string // "" is all
	limit int
	after engine.Place
}

// list answers a page of the pushes that wait, in the order they are due.
func (s *Server) list(j *job) *refusal {
	l, refused := readListing(j.query)
	if refused != nil {
		return refused
	}
	j.answer = append(j.answer, answerHead+`{"items":[`...)
	for n := 0; n < l.limit && len(j.answer) < maxPageBytes; {
		step := min(l.limit-n, listStep)
		page, next, err := s.pusher.ListWaiting(l.token, l.after, step)
		if err != nil {
			return refusalOfLook(err)
		}
		l.after = next
		for i := range page {
			if n > 0 {
				j.answer = append(j.answer, ',')
			}
			n++
			j.answer = s.appendScheduled(j.answer, &page[i])
		}
		if len(page) < step || next.IsZero() {
			break
		}
	}
	j.answer = append(j.answer, `],"next_cursor":`...)
	j.answer = appendCursor(j.answer, l.after)
	j.answer = append(j.answer, '}')
	j.answer = append(j.answer, answerEnd...)
	return nil
}

// The parameters of a listing, beside tokenQuery. All are optional; one of them
// makes a GET on the push path a listing.
const (
	statusQuery = "status"
	limitQuery  = "limit"
	cursorQuery = "cursor"
)

// isListing reports whether a query has a parameter of a listing.
func isListing(query []byte) bool {
	for _, name := range []string{statusQuery, tokenQuery, limitQuery, cursorQuery} {
		if hasQuery(query, name) {
			return true
		}
	}
	return false
}

// readListing reads the query of a listing.
func readListing(query []byte) (listing, *refusal) {
	l := listing{limit: defaultLimit}
	status, ok := lookUpQuery(query, statusQuery)
	if !ok || status != "" && status != "scheduled" {
		return l, badField("status must be scheduled")
	}
	var refused *refusal
	if l.token, refused = readTokenQuery(query); refused != nil {
		return l, refused
	}
	text, ok := lookUpQuery(query, limitQuery)
	if text != "" || !ok {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil || n < 1 || n > maxLimit {
			return l, badField("limit must be a number from 1 to " + strconv.Itoa(maxLimit))
		}
		l.limit = int(n)
	}
	text, ok = lookUpQuery(query, cursorQuery)
	if ok && text != "" {
		l.after, ok = readCursor(text)
	}
	if !ok {
		return l, badField("cursor must be the next_cursor of an answer")
	}
	return l, nil
}

// readTokenQuery reads the token in a query, "" if there is none.
func readTokenQuery(query []byte) (string, *refusal) {
	token, ok := lookUpQuery(query, tokenQuery)
	if !ok || !utf8.ValidString(token) {
		return "", badField("token must be percent-encoded UTF-8")
	}
	return token, nil
}

// A cursor is the place behind the last push of a page, for URLs.
const cursorLength = 8 + 8

// appendCursor appends the cursor as JSON: null if nothing follows the place.
func appendCursor(dst []byte, p engine.Place) []byte {
	if p.IsZero() {
		return append(dst, envelopeNull...)
	}
	raw := binary.BigEndian.AppendUint64(nil, uint64(p.Due))
	raw = binary.BigEndian.AppendUint64(raw, p.Key)
	dst = append(dst, '"')
	dst = base64.RawURLEncoding.AppendEncode(dst, raw)
	return append(dst, '"')
}

// readCursor reports false for what is no cursor.
func readCursor(text string) (engine.Place, bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != cursorLength {
		return engine.Place{}, false
	}
	p := engine.Place{Due: int64(binary.BigEndian.Uint64(raw)), Key: binary.BigEndian.Uint64(raw[8:])}
	return p, p.Due >= 0 && p.Key>>keyBits == 0 && !p.IsZero()
}
