package engine

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls here go to the kernel without telling the Go scheduler
// (RawSyscall): on a socket that cannot block they return at once, and not
// handing the processor over saves a third of a call's fixed cost.

// recvNow reads what the non-blocking socket has. n is 0 at the end of the
// stream; errno is EAGAIN when nothing is there.
func recvNow(fd int, p []byte) (n int, errno unix.Errno) {
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

// sendNow writes what the socket takes of p, without raising SIGPIPE. errno is
// EAGAIN when it takes nothing.
func sendNow(fd int, p []byte) (n int, errno unix.Errno) {
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

// acceptNow takes one connection from a non-blocking listener; nobody asks for
// its address here.
func acceptNow(fd int) (conn int, errno unix.Errno) {
	r, _, e := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if e != 0 {
		return -1, e
	}
	return int(r), 0
}

// resetOnClose makes close drop what the kernel still holds for the peer and
// send a reset, so that a peer that never reads costs no memory afterwards.
func resetOnClose(fd int) {
	// An error leaves the usual close: slower to free, not wrong.
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 0})
}
