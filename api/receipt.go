package api

import (
	"bytes"
	"encoding/binary"
	"time"
)

// A receipt is a promise on disk, written with the delayed pushes that it is
// about, so that a retry after a restart schedules nothing twice. Numbers are
// big endian:
//
//	 8   when it expires, in milliseconds since the epoch
//	 1   version
//	16   digest of the Idempotency-Key
//	16   digest of the request
//	 8   time of the id
//	 8   key of the id
//	 8   when the push is due, like the first
//	rest of a batch, the whole answer; of a single push, nothing
const (
	receiptVersion = 1
	receiptLength  = 8 + 1 + 2*len(digest{}) + 8 + 8 + 8
)

// appendReceipt appends the receipt of an attempt with this outcome.
func appendReceipt(dst []byte, a *attempt, o *outcome) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(a.until))
	dst = append(dst, receiptVersion)
	dst = append(dst, a.key[:]...)
	dst = append(dst, a.request[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(o.id.ms))
	dst = binary.BigEndian.AppendUint64(dst, o.id.key)
	dst = binary.BigEndian.AppendUint64(dst, uint64(o.due))
	return append(dst, o.answer...)
}

// readReceipt takes a receipt apart. The promise expires by the wall clock. The
// answer is a copy.
func readReceipt(b []byte) (key digest, p promise, answer []byte, ok bool) {
	if len(b) < receiptLength || b[8] != receiptVersion {
		return key, p, nil, false
	}
	p.expires = int64(binary.BigEndian.Uint64(b))
	b = b[8+1:]
	b = b[copy(key[:], b):]
	b = b[copy(p.request[:], b):]
	p.id.ms = int64(binary.BigEndian.Uint64(b))
	p.id.key = binary.BigEndian.Uint64(b[8:])
	p.due = int64(binary.BigEndian.Uint64(b[16:]))
	p.matched = unmatched
	if b = b[24:]; len(b) > 0 {
		answer = bytes.Clone(b)
	}
	if answer == nil && (p.id.ms>>48 != 0 || p.id.key>>keyBits != 0 || p.due == noTime) {
		return key, p, nil, false
	}
	return key, p, answer, true
}

// RestoreReceipt takes up a receipt that Schedule was given by a server before
// this one. Call it before Serve. A receipt that cannot be read, or for which
// there is no room, counts as lost; receipt may be changed afterwards.
func (s *Server) RestoreReceipt(receipt []byte) {
	s.restoreReceipt(receipt, time.Now())
}

func (s *Server) restoreReceipt(receipt []byte, now time.Time) {
	key, p, answer, ok := readReceipt(receipt)
	if ok && p.expires <= now.UnixMilli() {
		return
	}
	// The wall clock may have been set since: no promise of before lasts longer
	// than one that is made now.
	p.expires = s.steady(now) + min(p.expires-now.UnixMilli(), s.promises.window)
	if !ok || !s.promises.restore(key, p, answer) {
		s.lostReceipts.Add(1)
	}
}
