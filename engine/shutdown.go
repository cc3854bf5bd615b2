package engine

import (
	"context"
	"sync"
)

// Shutdown ends an engine, started or not: it stops accepting connections and
// messages, lets out what was accepted, delayed messages that are due too,
// closes every connection with 1001, and waits until all are gone or ctx ends,
// when it drops what is left and returns ctx's error. Messages still waiting
// for their time stay in the vault; without one they are lost and counted. No
// goroutine and no descriptor remains. It may be called once. A disk that hangs
// while it is read holds it up beyond ctx.
func (e *Engine) Shutdown(ctx context.Context) error {
	// What is due already still goes out; what is not is lost without a vault.
	switch left := e.delayed.halt(ctx); {
	case left == 0:
	case e.opts.Vault != nil:
		e.opts.Logger.Info("delayed messages wait on disk for the next start", "count", left)
	default:
		e.stats.delayedLost.Add(int64(left))
		e.opts.Logger.Warn("delayed messages are lost with this stop", "count", left)
	}
	e.stopping.Store(true)
	first := e.loops[0]
	deaf := make(chan struct{})
	first.run(func() {
		first.listener.close()
		close(deaf)
	})
	<-deaf
	_ = e.http.Close()
	if e.keep != nil {
		e.keep.halt()
	}
	if e.started {
		for _, s := range e.shards {
			s.stop()
		}
		for _, s := range e.shards {
			<-s.done // bounded: workers never wait for a client
		}
	}
	err := e.closeAll(ctx)
	e.delayed.forgetAll()
	_ = e.http.Close() // again: a loop may have offered a connection while it closed
	e.closeLoops()
	e.trims.Wait()
	return err
}

// closeAll closes every connection and waits for the loops to be rid of them.
func (e *Engine) closeAll(ctx context.Context) (err error) {
	var all []chan struct{}
	var calm sync.WaitGroup
	for _, l := range e.loops {
		empty := make(chan struct{})
		all = append(all, empty)
		calm.Add(1)
		l.run(func() {
			l.dropHandshakes()
			l.drainTo(empty)
			calm.Done()
		})
	}
	// A handshake or a client that identifies, which looked at stopping just before
	// it was set, has entered its shard by now, and none will any more.
	calm.Wait()
	for _, s := range e.shards {
		s.mu.Lock()
		conns := append([]*Conn(nil), s.conns...)
		s.mu.Unlock()
		for _, c := range conns {
			c.end(CloseStopping)
		}
	}
	for i, empty := range all {
		select {
		case <-empty:
			continue
		case <-ctx.Done():
			err = ctx.Err()
		}
		e.loops[i].run(e.loops[i].abandon)
		<-empty
	}
	return err
}
