package main

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Calls on non-blocking sockets that skip the Go scheduler (RawSyscall): they
// return at once, and the swarm and the floors should cost as little as they
// can.

// receive reads what the socket has. n is 0 at the end of the stream; errno is
// EAGAIN when nothing is there.
func receive(fd int, p []byte) (n int, errno unix.Errno) {
	for {
		r, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		if e == unix.EINTR {
			continue
		}
		if e != 0 {
			return 0, e
		}
		return int(r), 0
	}
}

// send writes what the socket takes of p, without raising SIGPIPE.
func send(fd int, p []byte) (n int, errno unix.Errno) {
	for {
		r, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		if e == unix.EINTR {
			continue
		}
		if e != 0 {
			return 0, e
		}
		return int(r), 0
	}
}

// acceptNow accepts one connection; errno is EAGAIN when none waits.
func acceptNow(fd int) (conn int, errno unix.Errno) {
	for {
		r, _, e := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		if e == unix.EINTR || e == unix.ECONNABORTED {
			continue
		}
		if e != 0 {
			return -1, e
		}
		return int(r), 0
	}
}

// waitBriefly waits for events for up to ms milliseconds, without telling the
// Go scheduler: only for a program of a single goroutine.
func waitBriefly(epoll int, events []unix.EpollEvent, ms int) (n int, errno unix.Errno) {
	for {
		r, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)),
			uintptr(ms), 0, 0)
		if e == unix.EINTR {
			continue
		}
		if e != 0 {
			return 0, e
		}
		return int(r), 0
	}
}

// watch adds fd to an epoll, once for all of its life.
func watch(epoll, fd int, events uint32) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(fd)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &ev))
}

// listenLoopback opens a free port on 127.0.0.1. Accepted sockets inherit
// TCP_NODELAY.
func listenLoopback() (fd, port int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, 0, os.NewSyscallError("socket", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return -1, 0, os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return -1, 0, os.NewSyscallError("bind", err)
	}
	if err := unix.Listen(fd, 65535); err != nil { // the kernel lowers it to somaxconn
		return -1, 0, os.NewSyscallError("listen", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return -1, 0, os.NewSyscallError("getsockname", err)
	}
	return fd, name.(*unix.SockaddrInet4).Port, nil
}
