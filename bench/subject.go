package main

import (
	"bytes"
	"strconv"
)

// A subject is what a push of the bench carries, a JSON object of an exact
// size that says who must get it and which one it is:
//
//	{"to":17,"seq":4,"pad":"xxxx"}
//
// seq counts from 1, for each receiver of its own (unicast) or for all
// together (broadcast, where to is everyone).

const (
	everyone = -1

	subjectTo  = `{"to":`
	subjectSeq = `,"seq":`
	subjectPad = `,"pad":"`
	subjectEnd = `"}`

	// minSubject is the least size in bytes that always fits both numbers.
	minSubject = len(subjectTo) + len(subjectSeq) + len(subjectPad) + len(subjectEnd) + 2*10
)

// appendSubject appends a subject of size bytes, at least minSubject.
func appendSubject(dst []byte, to, seq, size int) []byte {
	end := len(dst) + size - len(subjectEnd)
	dst = strconv.AppendInt(append(dst, subjectTo...), int64(to), 10)
	dst = strconv.AppendInt(append(dst, subjectSeq...), int64(seq), 10)
	dst = append(dst, subjectPad...)
	for len(dst) < end {
		dst = append(dst, 'x')
	}
	return append(dst, subjectEnd...)
}

// subjectReader finds subjects in messages and checks every byte of them. It
// remembers where the last one stood: in messages of one server that is nearly
// always the same place.
type subjectReader struct {
	size int
	at   int
	want []byte // the subject as it should be
}

// read returns the numbers of the subject in a message. ok is false if there
// is none, or if one byte of it is not as it was sent.
func (r *subjectReader) read(message []byte) (to, seq int, ok bool) {
	if !bytes.HasPrefix(message[min(r.at, len(message)):], []byte(subjectTo)) {
		if r.at = bytes.Index(message, []byte(subjectTo)); r.at < 0 {
			r.at = 0
			return 0, 0, false
		}
	}
	got := message[r.at:]
	if len(got) < r.size {
		return 0, 0, false
	}
	got = got[:r.size]
	to, rest, ok := leadingInt(got[len(subjectTo):])
	if !ok || !bytes.HasPrefix(rest, []byte(subjectSeq)) {
		return 0, 0, false
	}
	seq, _, ok = leadingInt(rest[len(subjectSeq):])
	if !ok {
		return 0, 0, false
	}
	r.want = appendSubject(r.want[:0], to, seq, r.size)
	return to, seq, bytes.Equal(got, r.want)
}

// leadingInt reads the decimal number that p begins with.
func leadingInt(p []byte) (n int, rest []byte, ok bool) {
	i, negative := 0, len(p) > 0 && p[0] == '-'
	if negative {
		i = 1
	}
	begin := i
	for ; i < len(p) && i-begin < 10 && p[i] >= '0' && p[i] <= '9'; i++ {
		n = n*10 + int(p[i]-'0')
	}
	if negative {
		n = -n
	}
	return n, p[i:], i > begin
}
