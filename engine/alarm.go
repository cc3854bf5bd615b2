package engine

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm is a clock in the epoll of an event loop: a timerfd. A timer of Go's would
// be late by up to 10 ms whenever loops that wait in epoll_wait have all processors,
// for the reason at loop.giveWay; the kernel wakes a loop in time.
type alarm struct {
	fd   int
	ring func()
}

// newAlarm makes an alarm that calls ring on the goroutine of p. close must be
// called.
func newAlarm(p *poller, ring func()) (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	a := &alarm{fd: fd, ring: ring}
	if err := p.add(fd, signalEvents, a.ready); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	return a, nil
}

// set makes it ring in so long, and every so often from then on, and not at the
// times that were set before: but a ring that is under way still comes. every is 0
// for once, in 0 for never.
func (a *alarm) set(in, every time.Duration) {
	// The arguments are in range: it cannot fail.
	_ = unix.TimerfdSettime(a.fd, 0, &unix.ItimerSpec{
		Interval: unix.NsecToTimespec(int64(every)), Value: unix.NsecToTimespec(int64(in)),
	}, nil)
}

func (a *alarm) ready(ev readiness) {
	if ev == pollerClosed {
		return
	}
	var rings [8]byte
	_, _ = unix.Read(a.fd, rings[:])
	a.ring()
}

// close frees the descriptor. The epoll is closed.
func (a *alarm) close() { _ = unix.Close(a.fd) }
