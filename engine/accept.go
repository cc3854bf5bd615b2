package engine

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// acceptor is the listening socket. It lives on the first loop and deals the
// accepted sockets out to all loops in turn: one socket on the port, so that a
// second relay cannot start on it unnoticed.
type acceptor struct {
	loop   *loop
	fd     int
	next   int       // the loop whose turn it is
	paused bool      // out of descriptors: the clock tries again
	logged time.Time // when that was last said
}

const (
	// acceptBatch is how many sockets are accepted before the loop's
	// connections get their turn.
	acceptBatch = 32

	// listenBacklog is how many connections the kernel may hold for us; it
	// lowers the number to net.core.somaxconn.
	listenBacklog = 65535

	// deferAccept is how many seconds the kernel keeps a new connection to
	// itself until its first bytes are there, so that one look is enough for
	// accept and request head. A client that says nothing is accepted when they
	// are over.
	deferAccept = 1

	// notSentLowat is how many unsent bytes the kernel takes for a socket:
	// what a slow client leaves waits here, where it is bounded and counted.
	notSentLowat = 128 << 10

	// keepAliveSeconds is when the kernel probes a silent peer, and
	// probeSeconds how often then. deadPeerMillis is how long a peer may
	// acknowledge nothing, counted from the last that came from it: several
	// probes, for a busy machine loses some, and the kernel takes one alone for
	// the end if the time is over. Only connections without pings come to that.
	keepAliveSeconds = 60
	probeSeconds     = 10
	deadPeerMillis   = 120_000
)

// bindListener opens the port of addr ("host:port"). An error says what could
// not be done and wraps the errno.
func bindListener(addr string) (fd int, bound net.Addr, err error) {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return -1, nil, fmt.Errorf("resolve %q: %w", addr, err)
	}
	if tcp.IP == nil {
		// Every address: one IPv6 socket takes IPv4 too, where there is IPv6.
		if fd, bound, err = bindTo(&unix.SockaddrInet6{Port: tcp.Port}, unix.AF_INET6); err == nil ||
			!errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fd, bound, err
		}
		return bindTo(&unix.SockaddrInet4{Port: tcp.Port}, unix.AF_INET)
	}
	if ip := tcp.IP.To4(); ip != nil {
		return bindTo(&unix.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(ip)}, unix.AF_INET)
	}
	return bindTo(&unix.SockaddrInet6{Port: tcp.Port, Addr: [16]byte(tcp.IP.To16())}, unix.AF_INET6)
}

func bindTo(sa unix.Sockaddr, family int) (fd int, bound net.Addr, err error) {
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, nil, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
			fd = -1
		}
	}()
	if family == unix.AF_INET6 {
		if err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0); err != nil {
			return fd, nil, os.NewSyscallError("setsockopt", err)
		}
	}
	// Accepted sockets inherit all of these: no call a connection.
	for _, o := range []struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}, // over connections in TIME_WAIT, not over a listener
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepAliveSeconds},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, probeSeconds},
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, deferAccept},
		{unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentLowat},
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, deadPeerMillis},
	} {
		if err = unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return fd, nil, os.NewSyscallError("setsockopt", err)
		}
	}
	if err = unix.Bind(fd, sa); err != nil {
		return fd, nil, os.NewSyscallError("bind", err)
	}
	if err = unix.Listen(fd, listenBacklog); err != nil {
		return fd, nil, os.NewSyscallError("listen", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return fd, nil, os.NewSyscallError("getsockname", err)
	}
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		bound = &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
	case *unix.SockaddrInet6:
		bound = &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
	}
	return fd, bound, nil
}

// ready is the epoll callback of the listening socket.
func (a *acceptor) ready(ev readiness) {
	if ev != pollerClosed {
		a.accept()
		a.loop.stayAwake()
	}
}

// accept takes what the kernel holds for us.
func (a *acceptor) accept() {
	if a.fd < 0 {
		return
	}
	e := a.loop.eng
	for range acceptBatch {
		fd, errno := acceptNow(a.fd)
		switch errno {
		case 0:
			e.stats.accepted.Add(1)
			if l := e.loops[a.next]; l == a.loop {
				l.adopt(arrival{fd: fd})
			} else {
				l.hand(arrival{fd: fd})
			}
			a.next = (a.next + 1) % len(e.loops)
		case unix.EAGAIN:
			return
		case unix.EINTR, unix.ECONNABORTED, unix.EPERM, unix.EPROTO, unix.ENOPROTOOPT, unix.EOPNOTSUPP,
			unix.ENETDOWN, unix.ENETUNREACH, unix.EHOSTDOWN, unix.EHOSTUNREACH, unix.ENONET:
			// The connection has failed, not the listener (accept(2)).
		default: // EMFILE, ENFILE, ENOBUFS, ENOMEM
			a.pause(errno)
			return
		}
	}
	a.loop.run(a.accept)
}

// pause waits for descriptors: the clock tries again, and the kernel holds the
// connections meanwhile.
func (a *acceptor) pause(err error) {
	e := a.loop.eng
	e.stats.acceptFailed.Add(1)
	a.paused = true
	a.loop.arm()
	if now := time.Now(); now.Sub(a.logged) >= time.Minute {
		a.logged = now
		e.opts.Logger.Error("cannot accept connections for want of descriptors or memory; trying again as they become free",
			"error", err, "open", e.open.Load())
	}
}

// retry accepts again after a pause. It reports whether the pause goes on.
func (a *acceptor) retry() bool {
	if a.paused {
		a.paused = false
		a.accept()
	}
	return a.paused
}

// close stops listening. Only on the loop's goroutine.
func (a *acceptor) close() {
	if a.fd < 0 {
		return
	}
	a.loop.poll.remove(a.fd)
	_ = unix.Close(a.fd)
	a.fd, a.paused = -1, false
}
