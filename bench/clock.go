package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// clock tells the machine's monotonic time in nanoseconds: one time for all
// processes, so that a message can carry when it was meant to be sent.
type clock struct {
	base    int64
	started time.Time
}

func newClock() clock {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // cannot fail with this clock
	return clock{base: t.Nano(), started: time.Now()}
}

// now costs no system call: Go reads the same clock from the vDSO.
func (c clock) now() int64 { return c.base + time.Since(c.started).Nanoseconds() }

// until sleeps in the kernel: Go's own timers are late by up to a millisecond
// where nothing else runs, and that would count as the server's latency.
func (c clock) until(at int64) {
	for wait := at - c.now(); wait > 0; wait = at - c.now() {
		t := unix.NsecToTimespec(wait)
		_ = unix.Nanosleep(&t, nil) // a signal may cut it short
	}
}
