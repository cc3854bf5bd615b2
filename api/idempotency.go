package api

import (
	"container/heap"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// A publisher that got no answer sends its push again, and names both with one
// Idempotency-Key: the second is then answered as the first was, and delivers
// nothing. The relay remembers, for a while, what each key was used for and
// what came of it. That is a promise, so it is never forgotten early: when the
// memory is full, no further key is taken.

const (
	idempotencyHeader = "Idempotency-Key"
	replayedHeader    = "Idempotency-Replayed"

	// maxIdempotencyKey bounds the header's value, in characters.
	maxIdempotencyKey = 128

	// promiseCost is what a key costs in bytes, its place in the maps and
	// their slack included, and answerCost what an answer costs besides its
	// bytes and their slack.
	promiseCost = 256
	answerCost  = 128

	// forgetAtOnce is how many promises that have expired one request removes
	// without need: more than it adds, few enough not to be felt.
	forgetAtOnce = 8
)

// digest is the first half of a SHA-256. It needs no secret: to find two
// requests with one digest takes 2^64 tries, and would harm only the holder of
// the API key who tried. Without one, a digest on disk means the same after a
// restart.
type digest [sha256.Size / 2]byte

// digestOf is the digest of the parts, of which only the last may hold a zero.
func digestOf(parts ...[]byte) digest {
	h := sha256.New()
	for i, part := range parts {
		if i > 0 {
			h.Write([]byte{0})
		}
		h.Write(part)
	}
	var sum [sha256.Size]byte
	return digest(h.Sum(sum[:0])[:len(digest{})])
}

// idempotencyKey returns the key of a request, nil if it has none.
func idempotencyKey(h *fasthttp.RequestHeader) ([]byte, *refusal) {
	values := h.PeekAll(idempotencyHeader)
	if len(values) == 0 {
		return nil, nil
	}
	key := values[0]
	if len(values) > 1 || len(key) == 0 || len(key) > maxIdempotencyKey {
		return nil, refusedIdempotencyKey
	}
	for _, c := range key {
		if c <= ' ' || c > '~' {
			return nil, refusedIdempotencyKey
		}
	}
	return key, nil
}

// outcome is what came of a request that was accepted. The answer to a single
// push is not kept: it is made again from the body, which is at hand then.
type outcome struct {
	id      pushID
	due     int64  // noTime: at once
	matched int    // unmatched if due
	answer  []byte // of a batch, whole; nil for a single push
}

// promises remember requests by their keys. The time is an argument, in
// milliseconds on a clock that does not jump: see Server.steady.
type promises struct {
	window int64 // milliseconds that a key is remembered
	most   int64 // bytes

	mu      sync.Mutex
	kept    map[digest]promise  // without pointers: the collector does not scan it
	answers map[digest][]byte   // of those in kept that have one
	running map[digest]*attempt // requests under way
	expiry  expiryHeap          // of those in kept, and of some that are gone
	bytes   int64               // cost of kept, and room of running
}

// promise is one key that is remembered.
type promise struct {
	request digest
	expires int64
	id      pushID
	due     int64
	matched int
}

// attempt is a request with a key that is under way.
type attempt struct {
	key, request digest
	expires      int64         // as of a promise
	until        int64         // the same by the wall clock, in milliseconds since the epoch; not for promises
	room         int64         // that it has reserved
	done         chan struct{} // closed when it is over
}

// costOf is what a key with an answer of that many bytes takes in memory; 0 is
// no answer.
func costOf(answer int) int64 {
	if answer == 0 {
		return promiseCost
	}
	return int64(promiseCost + answerCost + answer + answer/8)
}

func newPromises(window time.Duration, most int64) *promises {
	return &promises{
		window: window.Milliseconds(), most: most,
		kept: make(map[digest]promise), answers: make(map[digest][]byte), running: make(map[digest]*attempt),
	}
}

// begin is called for a request whose answer will have at most that many bytes
// to keep. It returns one of four: what came of the same request before; the
// same request that is under way now, which the caller waits for and then
// begins again; an attempt of the caller's own, which must end with finish or
// abandon; a refusal.
func (m *promises) begin(key, request digest, now int64, answer int) (before *outcome, twin, own *attempt, refused *refusal) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a, ok := m.running[key]; ok {
		if a.request != request {
			return nil, nil, nil, refusedReused
		}
		return nil, a, nil, nil
	}
	if p, ok := m.kept[key]; ok && p.expires > now {
		if p.request != request {
			return nil, nil, nil, refusedReused
		}
		return &outcome{p.id, p.due, p.matched, m.answers[key]}, nil, nil, nil
	}
	room := costOf(answer)
	if room > m.most {
		return nil, nil, nil, refusedLongPromise(m.most)
	}
	m.forget(now, room)
	if m.bytes+room > m.most {
		return nil, nil, nil, refusedPromise
	}
	m.bytes += room
	a := &attempt{key: key, request: request, expires: now + m.window, room: room, done: make(chan struct{})}
	m.running[key] = a
	return nil, nil, a, nil
}

// finish remembers what came of an attempt.
func (m *promises) finish(a *attempt, o outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endLocked(a)
	m.keepLocked(a.key, promise{a.request, a.expires, o.id, o.due, o.matched}, o.answer)
}

// abandon forgets an attempt that came to nothing. After finish it does
// nothing.
func (m *promises) abandon(a *attempt) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running[a.key] == a {
		m.endLocked(a)
	}
}

// restore takes up a promise of a server before this one. It reports false if
// there is no room.
func (m *promises) restore(key digest, p promise, answer []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bytes+costOf(len(answer)) > m.most {
		return false
	}
	m.keepLocked(key, p, answer)
	return true
}

func (m *promises) endLocked(a *attempt) {
	delete(m.running, a.key)
	m.bytes -= a.room
	close(a.done)
}

func (m *promises) keepLocked(key digest, p promise, answer []byte) {
	m.dropLocked(key) // one that has expired
	m.kept[key] = p
	if len(answer) > 0 {
		m.answers[key] = answer
	}
	m.bytes += costOf(len(answer))
	heap.Push(&m.expiry, expiry{p.expires, key})
}

func (m *promises) dropLocked(key digest) {
	if _, ok := m.kept[key]; ok {
		m.bytes -= costOf(len(m.answers[key]))
		delete(m.kept, key)
		delete(m.answers, key)
	}
}

// forget removes promises that have expired: a few, or as many as it takes to
// make room. The caller holds m.mu.
func (m *promises) forget(now, room int64) {
	for n := 0; len(m.expiry) > 0 && m.expiry[0].at <= now; n++ {
		if n >= forgetAtOnce && m.bytes+room <= m.most {
			return
		}
		e := heap.Pop(&m.expiry).(expiry)
		// A key may have been used again since.
		if p, ok := m.kept[e.key]; ok && p.expires == e.at {
			m.dropLocked(e.key)
		}
	}
}

// expiry says when a promise expires.
type expiry struct {
	at  int64
	key digest
}

// expiryHeap implements heap.Interface, the earliest first.
type expiryHeap []expiry

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h expiryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *expiryHeap) Push(e any)        { *h = append(*h, e.(expiry)) }
func (h *expiryHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	*h = (*h)[:last]
	return e
}
