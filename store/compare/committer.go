package main

import (
	"runtime"
	"sync"
)

// committer joins whatever arrives during a commit into the next one.
type committer struct {
	to candidate

	mu      sync.Mutex
	open    *group
	running bool
	commits int
}

type group struct {
	change
	done chan struct{}
	err  error
}

// add returns when the record is safe on disk. gone is taken out beside it.
func (c *committer) add(key uint64, body []byte, gone []uint64) error {
	c.mu.Lock()
	if c.open == nil {
		c.open = &group{done: make(chan struct{})}
	}
	g := c.open
	g.keys, g.bodies, g.gone = append(g.keys, key), append(g.bodies, body), append(g.gone, gone...)
	first := !c.running
	c.running = true
	c.mu.Unlock()
	if first {
		go c.run()
	}
	<-g.done
	return g.err
}

func (c *committer) run() {
	for {
		c.gather()
		c.mu.Lock()
		g := c.open
		c.open = nil
		if g == nil {
			c.running = false
			c.mu.Unlock()
			return
		}
		c.commits++
		c.mu.Unlock()
		g.err = c.to.commit(&g.change)
		close(g.done)
	}
}

// gather lets those that the last commit has woken come along, for as long as
// somebody comes.
func (c *committer) gather() {
	for before := -1; ; {
		c.mu.Lock()
		now := 0
		if c.open != nil {
			now = len(c.open.keys)
		}
		c.mu.Unlock()
		if now == before {
			return
		}
		before = now
		runtime.Gosched()
	}
}
