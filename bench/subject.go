package main

import (
	"bytes"
	"strconv"
)

// message is one push of the bench as its receiver sees it.
type message struct {
	to  int   // a client's number, or everyone
	seq int   // from 1, for each receiver of its own, or for all together
	at  int64 // when it should come, on the bench's clock; 0 is not timed
}

// A subject is what a push of the bench carries, a JSON object of an exact
// size that says who must get it, which one it is, and when:
//
//	{"to":17,"seq":4,"at":0,"pad":"xxxx"}

const (
	everyone = -1

	subjectTo  = `{"to":`
	subjectSeq = `,"seq":`
	subjectAt  = `,"at":`
	subjectPad = `,"pad":"`
	subjectEnd = `"}`

	// minSubject is the least size in bytes that always fits the numbers and
	// one letter of padding.
	minSubject = len(subjectTo) + len(subjectSeq) + len(subjectAt) + len(subjectPad) + len(subjectEnd) + 2*10 + maxDigits + 1
	maxDigits  = 19
)

// appendSubject appends a subject of size bytes, at least minSubject. The
// letter of the padding depends on the time: of the three numbers it is the
// only one that nothing else checks.
func appendSubject(dst []byte, m message, size int) []byte {
	end := len(dst) + size - len(subjectEnd)
	dst = strconv.AppendInt(append(dst, subjectTo...), int64(m.to), 10)
	dst = strconv.AppendInt(append(dst, subjectSeq...), int64(m.seq), 10)
	dst = strconv.AppendInt(append(dst, subjectAt...), m.at, 10)
	dst = append(dst, subjectPad...)
	letter := 'a' + byte(uint64(m.at)%23) // no power of ten is a multiple of 23
	for len(dst) < end {
		dst = append(dst, letter)
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

// read returns the message of the subject in a frame. ok is false if there is
// none, or if one byte of it is not as it was sent.
func (r *subjectReader) read(payload []byte) (m message, ok bool) {
	if !bytes.HasPrefix(payload[min(r.at, len(payload)):], []byte(subjectTo)) {
		if r.at = bytes.Index(payload, []byte(subjectTo)); r.at < 0 {
			r.at = 0
			return m, false
		}
	}
	got := payload[r.at:]
	if len(got) < r.size {
		return m, false
	}
	got = got[:r.size]
	to, rest, ok := leadingInt(got, subjectTo)
	if !ok {
		return m, false
	}
	seq, rest, ok := leadingInt(rest, subjectSeq)
	if !ok {
		return m, false
	}
	at, _, ok := leadingInt(rest, subjectAt)
	if !ok {
		return m, false
	}
	m = message{int(to), int(seq), at}
	r.want = appendSubject(r.want[:0], m, r.size)
	return m, bytes.Equal(got, r.want)
}

// leadingInt reads the decimal number that stands behind a name at the
// beginning of p.
func leadingInt(p []byte, name string) (n int64, rest []byte, ok bool) {
	if !bytes.HasPrefix(p, []byte(name)) {
		return 0, nil, false
	}
	p = p[len(name):]
	i, negative := 0, len(p) > 0 && p[0] == '-'
	if negative {
		i = 1
	}
	begin := i
	for ; i < len(p) && i-begin < maxDigits && p[i] >= '0' && p[i] <= '9'; i++ {
		n = n*10 + int64(p[i]-'0')
	}
	if negative {
		n = -n
	}
	return n, p[i:], i > begin
}
