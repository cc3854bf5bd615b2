package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// loopbackSources is how many addresses of 127.0.0.0/8 the clients of a local
// server come from: each has a port range of its own.
const loopbackSources = 64

// sources are the addresses that clients of the target come from, if nothing
// else was asked for.
func sources(target netip.AddrPort) (from []netip.Addr) {
	if !target.Addr().IsLoopback() {
		return nil
	}
	for i := range loopbackSources {
		from = append(from, netip.AddrFrom4([4]byte{127, 1, byte(i), 1}))
	}
	return from
}

// dial begins as many connections as may be under way.
func (s *swarm) dial() error {
	for len(s.todo) > 0 && s.shaking < s.plan.Dialing {
		i := int(s.todo[0])
		s.todo = s.todo[1:]
		s.shaking++
		if err := s.connect(i); err != nil {
			return s.explain(err)
		}
	}
	return nil
}

// connect begins the i-th client's connection.
func (s *swarm) connect(i int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	s.clients[i].fd, s.clients[i].state = int32(fd), clientConnecting
	if s.clients[i].since == 0 { // not a second try
		s.clients[i].since = s.clock.now()
	}
	for len(s.byFD) <= fd {
		s.byFD = append(s.byFD, -1)
	}
	s.byFD[fd] = int32(i)
	if s.plan.Stalled {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, stalledBuffer); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if n := len(s.plan.Sources); n > 0 {
		// The port is chosen by connect, which knows the other end: each source
		// address has all ports once for every server.
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
		source := unix.SockaddrInet4{Addr: s.plan.Sources[(s.plan.First+i)%n].As4()}
		if err := unix.Bind(fd, &source); err == unix.EADDRNOTAVAIL {
			return fmt.Errorf("-sources: %v is no address of this machine (see: ip -4 addr)", netip.AddrFrom4(source.Addr))
		} else if err != nil {
			return os.NewSyscallError("bind", err)
		}
	}
	target := unix.SockaddrInet4{Addr: s.plan.Target.Addr().As4(), Port: int(s.plan.Target.Port())}
	if err := unix.Connect(fd, &target); err != nil && err != unix.EINPROGRESS {
		if s.plan.Tolerant && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return s.refused(i, s.explain(os.NewSyscallError("connect", err)))
		}
		return os.NewSyscallError("connect", err)
	}
	return watch(s.epoll, fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET)
}

// explain says what a user can do about an error of connect.
func (s *swarm) explain(err error) error {
	switch {
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return fmt.Errorf("%w: out of open files with %d connections; raise the limit (ulimit -n; for the machine: sysctl fs.file-max) or ask for fewer", err, s.status.Open)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("%w: out of ports with %d connections; run: sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\", "+
			"or give more addresses with -sources, or wait a minute for those in TIME_WAIT", err, s.status.Open)
	case errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("%w: nobody listens at %v (any more)", err, s.plan.Target)
	case errors.Is(err, unix.ETIMEDOUT):
		return fmt.Errorf("%w: %v does not answer; is a firewall or a full listen queue in between (sysctl net.core.somaxconn)?", err, s.plan.Target)
	}
	return err
}

// serve handles the readiness of one client.
func (s *swarm) serve(i int, events uint32) error {
	if i < 0 {
		return nil // closed earlier in this turn
	}
	c := &s.clients[i]
	const over = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	if c.state == clientConnecting {
		if code, err := unix.GetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
			return s.refused(i, s.explain(os.NewSyscallError("connect", unix.Errno(code))))
		}
		if events&unix.EPOLLOUT == 0 {
			return nil
		}
		c.state = clientHandshaking
		s.request = handshakeRequest(s.request[:0], s.plan.WSPath, s.plan.Target.String(), s.plan.First+i)
		if n, errno := send(int(c.fd), s.request); errno != 0 || n < len(s.request) {
			return s.refused(i, fmt.Errorf("send the handshake: %d bytes of %d: %w", n, len(s.request), errno))
		}
	}
	if c.state == clientOpen && s.stalled {
		if events&over != 0 {
			s.ended(i, "the end of the stream")
		}
		return nil
	}
	for c.fd >= 0 {
		n, errno := receive(int(c.fd), s.buf)
		if errno == unix.EAGAIN {
			return nil
		}
		if errno != 0 || n == 0 {
			if c.state != clientOpen {
				return s.refused(i, errors.New("the server ended a connection in the handshake"))
			}
			if s.plan.Patient {
				s.outlive(c)
				return nil
			}
			s.ended(i, "the end of the stream")
			return nil
		}
		if err := s.take(i, s.buf[:n]); err != nil {
			return err
		}
		if s.stalled && c.state == clientOpen {
			return nil
		}
		if n < len(s.buf) && events&over == 0 {
			return nil
		}
	}
	return nil
}

// opened counts a handshake that has succeeded.
func (s *swarm) opened(c *client) {
	c.state = clientOpen
	s.shaking--
	s.status.Open++
	s.status.Opened++
	s.lap.Handshakes.record(s.clock.now() - c.since)
	c.since, c.tries = 0, 0
}

// refused counts a handshake that has failed. It is the swarm's end if that
// is not to be borne.
func (s *swarm) refused(i int, err error) error {
	s.shaking--
	s.release(&s.clients[i])
	if !s.plan.Tolerant {
		return err
	}
	s.status.Failed++
	if s.status.Reason == "" {
		s.status.Reason = err.Error()
	}
	c := &s.clients[i]
	if c.tries++; s.plan.Persistent && c.tries < maxTries {
		s.later = append(s.later, retry{int32(i), s.clock.now() + retryAfter.Nanoseconds()})
		return nil
	}
	c.since, c.tries = 0, 0
	return nil
}
