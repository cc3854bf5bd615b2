package engine

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm rings once after a time: a timerfd in the epoll of an event loop. A timer
// of Go's would be late by up to 10 ms whenever loops that wait in epoll_wait have
// all processors, for the reason at loop.giveWay; the kernel wakes a loop in time.
type alarm struct {
	loop *loop
	fd   int
	ring func()
}

// newAlarm makes an alarm that calls ring on the loop's goroutine. close must be
// called.
func newAlarm(l *loop, ring func()) (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	a := &alarm{loop: l, fd: fd, ring: ring}
	if err := l.poll.add(fd, signalEvents, a.ready); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	return a, nil
}

// set makes it ring after d, which is more than 0, and not at the time that was
// set before. A ring that is under way still comes.
func (a *alarm) set(d time.Duration) {
	// The arguments are in range: it cannot fail.
	_ = unix.TimerfdSettime(a.fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}, nil)
}

func (a *alarm) ready(ev readiness) {
	if ev == pollerClosed {
		return
	}
	var rings [8]byte
	_, _ = unix.Read(a.fd, rings[:])
	a.ring()
	a.loop.giveWay()
}

// close frees the descriptor. The loop is closed.
func (a *alarm) close() { _ = unix.Close(a.fd) }
