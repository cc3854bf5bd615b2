package engine

import (
	"sync"
	"sync/atomic"
)

// The broadcast log is how a message for everybody reaches everybody without
// a queue entry a connection: a linked list that only grows at its end. Each
// connection has a cursor, the last entry it was given; what follows the
// cursor is what it still lacks. Entries that every cursor has passed are
// unreachable, and so freed by the garbage collector: there is no other
// bookkeeping, and a connection may change its shard without losing or
// repeating a broadcast.

// entry is one broadcast in the log.
type entry struct {
	seq  uint64 // 1, 2, 3 ...; 0 is the empty log's entry
	end  uint64 // bytes of all entries up to and including this one
	wire []byte // the encoded frame
	next atomic.Pointer[entry]
}

// broadcastLog is the node's log.
type broadcastLog struct {
	mu   sync.Mutex // one broadcast is appended at a time
	tail atomic.Pointer[entry]
}

func (l *broadcastLog) init() { l.tail.Store(&entry{}) }

// append adds a frame unless more than limit bytes would then be ahead of
// swept, the byte position up to which every shard has delivered.
func (l *broadcastLog) append(f Frame, limit uint64, swept func() uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.tail.Load()
	end := last.end + uint64(f.Len())
	if end-swept() > limit {
		return false
	}
	e := &entry{seq: last.seq + 1, end: end, wire: f.wire}
	last.next.Store(e)
	l.tail.Store(e)
	return true
}
