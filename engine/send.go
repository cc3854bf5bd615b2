package engine

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Errors of Send, Multicast, Broadcast and Schedule. Nothing of the message is
// delivered when one of them is returned.
var (
	// ErrSaturated: more bytes wait for sockets than MaxTotalPendingBytes.
	ErrSaturated = errors.New("engine: too many bytes are waiting to be sent")
	// errNeverFits: the message by itself is more than MaxTotalPendingBytes.
	// Waiting does not help.
	errNeverFits = fmt.Errorf("%w: this message alone is more than the bound", ErrSaturated)
	// ErrStopping: Shutdown has begun.
	ErrStopping = errors.New("engine: stopping")
	// ErrTooMany: MaxDelayed messages are waiting for their time.
	ErrTooMany = errors.New("engine: too many delayed messages are waiting")
)

// Send queues f for every connection that is open under token now, and says
// how many those are.
func (e *Engine) Send(token string, f Frame) (matched int, err error) {
	matched, err = e.send(f, token)
	return matched, e.counted(err)
}

// Multicast is Send for several tokens, each given once: for all of their
// connections, or for none.
func (e *Engine) Multicast(tokens []string, f Frame) (matched int, err error) {
	matched, err = e.send(f, tokens...)
	return matched, e.counted(err)
}

// counted counts a refusal for want of room.
func (e *Engine) counted(err error) error {
	if errors.Is(err, ErrSaturated) || errors.Is(err, ErrTooMany) {
		e.stats.saturated.Add(1)
	}
	return err
}

func (e *Engine) send(f Frame, tokens ...string) (matched int, err error) {
	if e.stopping.Load() {
		return 0, ErrStopping
	}
	if f.Len() == 0 {
		return 0, nil // the zero Frame: nothing to send
	}
	var few [8]*Conn
	conns := few[:0]
	if len(tokens) == 1 {
		conns = e.matching(conns, tokens[0])
	} else {
		conns = e.matchingAny(conns, tokens)
	}
	if len(conns) == 0 {
		e.stats.unicasts.Add(1)
		return 0, nil
	}
	u := unicast{wire: f.wire, cost: itemCost}
	need := int64(f.Len()) + itemCost*int64(len(conns))
	if need > e.opts.MaxTotalPendingBytes || f.Len() > math.MaxUint32 {
		return 0, errNeverFits // nobody is closed for it
	}
	if !e.reserve(need) {
		return 0, ErrSaturated
	}
	e.stats.unicasts.Add(1)
	if len(conns) == 1 {
		u.cost += f.Len()
	} else {
		u.share = newShare(len(conns), f.Len())
	}
	u.after = e.log.tail.Load()
	for _, c := range conns {
		if c.enqueue(u) {
			matched++
		} else {
			e.waiting.Add(-int64(u.release(CloseOverload))) // as a rule it was closed to make room, just now
		}
	}
	return matched, nil
}

// matching appends the connections that are open under token to conns.
func (e *Engine) matching(conns []*Conn, token string) []*Conn {
	hash := e.hash(token)
	return e.shards[e.shardIndex(hash)].matching(conns, uint32(hash), token)
}

// matchingAny appends the connections that are open under one of these tokens, as
// of one moment: a connection that identifies anew is under one or the other.
func (e *Engine) matchingAny(conns []*Conn, tokens []string) []*Conn {
	hashes, shards := make([]uint64, len(tokens)), make([]uint32, len(tokens))
	for i, token := range tokens {
		hashes[i] = e.hash(token)
		shards[i] = e.shardIndex(hashes[i])
	}
	slices.Sort(shards)
	shards = slices.Compact(shards)
	e.lockShards(shards)
	for i, token := range tokens {
		conns = e.shards[e.shardIndex(hashes[i])].matchingLocked(conns, uint32(hashes[i]), token)
	}
	e.unlockShards(shards)
	return conns
}

// fetchConn begins to load from memory what is needed to find the connection
// that p goes to, if it is for one token, and returns that connection; nil if
// there is none.
func (e *Engine) fetchConn(p packed) *Conn {
	if p.count() != 1 {
		return nil
	}
	hash := e.hash(p.token())
	return e.shards[e.shardIndex(hash)].fetch(uint32(hash))
}

// Broadcast queues f for every connection that is open now, and says how many
// those are.
func (e *Engine) Broadcast(f Frame) (matched int, err error) {
	matched, err = e.broadcast(f)
	return matched, e.counted(err)
}

func (e *Engine) broadcast(f Frame) (matched int, err error) {
	if e.stopping.Load() {
		return 0, ErrStopping
	}
	if f.Len() == 0 {
		return 0, nil // the zero Frame: nothing to send
	}
	if int64(f.Len()) > e.opts.MaxTotalPendingBytes {
		return 0, errNeverFits
	}
	if !e.log.append(f, uint64(e.opts.MaxTotalPendingBytes), e.swept) {
		return 0, ErrSaturated
	}
	matched = int(e.open.Load())
	e.stats.broadcasts.Add(1)
	for _, s := range e.shards {
		s.wakeForBroadcast()
	}
	return matched, nil
}

// swept is the position in the broadcast log that every connection has
// reached, but for those whose sockets are full.
func (e *Engine) swept() uint64 {
	least := ^uint64(0)
	for _, s := range e.shards {
		least = min(least, s.swept.Load())
	}
	return least
}
