package api

import (
	"bytes"
	"crypto/subtle"
)

// knownHead is the head of a request that was read and let in, on whatever
// connection. Publishers send the same head with each push, but for the length of
// the body: one that is the same byte for byte, key included, means the same and
// need not be read again. The key is among the bytes, so they are compared in
// constant time: how long that takes may tell how long the head is, but nothing
// else of it. The zero value knows none.
type knownHead struct {
	before, behind []byte // the digits of Content-Length
	misses         uint   // other heads that were read and let in
}

const (
	// learnEvery is how many heads that are not known it takes to learn one more:
	// where publishers take turns learning costs more than it brings.
	learnEvery = 8

	maxLengthDigits = 5 // enough for maxInPlace
)

var lengthHeader = []byte("\r\nContent-Length: ")

// match reports whether a request begins with this head, how long it then is,
// and how long the body is behind it.
func (k *knownHead) match(read []byte) (head, body int, ok bool) {
	if len(k.before) == 0 || len(read) <= len(k.before)+len(k.behind) {
		return 0, 0, false
	}
	head = len(k.before)
	for head < len(read) && head < len(k.before)+maxLengthDigits && isDigit(read[head]) {
		body = 10*body + int(read[head]-'0')
		head++
	}
	if head == len(k.before) || len(read)-head < len(k.behind) {
		return 0, 0, false
	}
	same := subtle.ConstantTimeCompare(read[:len(k.before)], k.before) &
		subtle.ConstantTimeCompare(read[head:head+len(k.behind)], k.behind)
	head += len(k.behind)
	return head, body, same == 1 && head <= maxHeadBytes
}

// missed notes that a head was read, which is let in, and learns it now and then.
func (k *knownHead) missed(head []byte) {
	if k.misses++; k.misses%learnEvery != 1 {
		return
	}
	at := bytes.Index(head, lengthHeader) + len(lengthHeader)
	if at < len(lengthHeader) || bytes.Count(bytes.ToLower(head), []byte("content-length")) != 1 {
		return
	}
	end := at
	for isDigit(head[end]) { // a line end is behind them
		end++
	}
	if end == at {
		return
	}
	k.before, k.behind = append(k.before[:0], head[:at]...), append(k.behind[:0], head[end:]...)
}
