package engine

// forgetAfter is how long, in milliseconds, a message that was sent stays in
// the vault. Until it is in the kernel's hands it is only in the queue of a
// connection: what a crash takes from there is sent again by the next relay.
const forgetAfter = 500

// sentLog remembers which messages of the vault were sent, oldest first. The
// goroutine that sends owns it, and after its end whoever stops the engine.
type sentLog []sentBatch

type sentBatch struct {
	at   uint64 // engine clock
	keys []uint64
}

// add notes what was sent at a time. keys may be used again.
func (l *sentLog) add(at uint64, keys []uint64) {
	if n := len(*l); n > 0 && (*l)[n-1].at == at {
		(*l)[n-1].keys = append((*l)[n-1].keys, keys...)
		return
	}
	*l = append(*l, sentBatch{at, append([]uint64(nil), keys...)})
}

// next is when the oldest may be forgotten; ok is false if there is none.
func (l sentLog) next() (at uint64, ok bool) {
	if len(l) == 0 {
		return 0, false
	}
	return l[0].at + forgetAfter, true
}

// forget takes out of the vault what was sent long enough before now.
func (l *sentLog) forget(v Vault, now uint64) {
	n := 0
	for n < len(*l) && (*l)[n].at+forgetAfter <= now {
		v.Remove((*l)[n].keys)
		n++
	}
	if n > 0 {
		*l = append((*l)[:0], (*l)[n:]...)
		clear((*l)[len(*l) : len(*l)+n]) // nothing of them stays behind
	}
}
