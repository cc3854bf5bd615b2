package main

import (
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whatever else runs: a clock never disagrees with the kernel's by more than it
// takes to ask both.
func TestClocksAgree(t *testing.T) {
	var over atomic.Bool
	defer over.Store(true)
	for range 4 { // so that the processor is taken away
		go func() {
			for !over.Load() {
			}
		}()
	}
	for range 50 {
		c := newClock()
		var before, after unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &before)
		now := c.now()
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &after)
		const allowed = 50 * time.Microsecond // of the closest of many pairs
		if now < before.Nano()-int64(allowed) || now > after.Nano()+int64(allowed) {
			t.Fatalf("%d is not from %d to %d", now, before.Nano(), after.Nano())
		}
	}
}
