package engine

const (
	// forgetAfter is how long, in milliseconds, a message that was sent stays in
	// the vault. Until it is in the kernel's hands it is only in the queue of a
	// connection: what a crash takes from there is sent again by the next relay.
	forgetAfter = 500

	// lateBy is how late, in milliseconds, messages go out when the processors
	// have more to do than they can. Then queues are longer, and removals would
	// make them longer still: they wait until nothing was late for calmFor, but
	// for no message longer than forgetLatest.
	lateBy       = 5
	calmFor      = 100
	forgetLatest = 2500
)

// sentLog remembers which messages were sent and are to be forgotten, by the
// vault and by those who look them up, oldest first. The goroutine that sends
// owns it, and after its end whoever stops the engine.
type sentLog struct {
	batches []sentBatch
	calm    uint64 // engine clock: nothing is taken out before, if that is not too late
}

type sentBatch struct {
	at   uint64 // engine clock
	keys []uint64
}

// add notes what was sent at a time. keys may be used again.
func (l *sentLog) add(at uint64, keys []uint64) {
	if n := len(l.batches); n > 0 && l.batches[n-1].at == at {
		l.batches[n-1].keys = append(l.batches[n-1].keys, keys...)
		return
	}
	l.batches = append(l.batches, sentBatch{at, append([]uint64(nil), keys...)})
}

// fired notes that at now a message was not on its way yet that had been due at
// the given time.
func (l *sentLog) fired(due, now uint64) {
	if due+lateBy <= now {
		l.calm = now + calmFor
	}
}

// next is when the oldest may be forgotten; ok is false if there is none.
func (l *sentLog) next() (at uint64, ok bool) {
	if len(l.batches) == 0 {
		return 0, false
	}
	return l.ripe(0), true
}

// ripe is when batch i may be forgotten.
func (l *sentLog) ripe(i int) uint64 {
	at := l.batches[i].at
	return min(max(at+forgetAfter, l.calm), at+forgetLatest)
}

// forget gives remove what was sent long enough before now.
func (l *sentLog) forget(remove func(keys []uint64), now uint64) {
	n := 0
	for n < len(l.batches) && l.ripe(n) <= now {
		remove(l.batches[n].keys)
		n++
	}
	if n > 0 {
		left := append(l.batches[:0], l.batches[n:]...)
		clear(l.batches[len(left):]) // nothing of them stays behind
		l.batches = left
	}
}
