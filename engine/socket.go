package engine

import (
	"io/fs"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// socket makes a connection of a descriptor, as it is: net.FileConn duplicates
// it, and then a connection that serves well would be lost where no more
// descriptors are to be had.
type socket struct{ file *os.File }

var _ net.Conn = socket{}

// newSocket returns the connection of a TCP socket that does not block, which
// is its own from now on.
func newSocket(fd int) socket { return socket{os.NewFile(uintptr(fd), "socket")} }

func (s socket) Read(p []byte) (int, error) {
	n, err := s.file.Read(p)
	return n, netError(err)
}

func (s socket) Write(p []byte) (int, error) {
	n, err := s.file.Write(p)
	return n, netError(err)
}

// netError is the error of reading or writing as a connection has it: that of an
// expired deadline is a net.Error, and of a closed one net.ErrClosed.
func netError(err error) error {
	path, ok := err.(*fs.PathError)
	switch {
	case !ok: // nil, as a rule
		return err
	case path.Err == os.ErrClosed:
		return net.ErrClosed
	}
	return path.Err
}

func (s socket) Close() error { return netError(s.file.Close()) }

// CloseWrite ends our side of the connection.
func (s socket) CloseWrite() error {
	return s.control(func(fd int) error {
		return os.NewSyscallError("shutdown", unix.Shutdown(fd, unix.SHUT_WR))
	})
}

// LocalAddr and RemoteAddr ask the kernel. They are nil if it does not know.
func (s socket) LocalAddr() net.Addr  { return s.addr(unix.Getsockname) }
func (s socket) RemoteAddr() net.Addr { return s.addr(unix.Getpeername) }

func (s socket) addr(ask func(fd int) (unix.Sockaddr, error)) (addr net.Addr) {
	_ = s.control(func(fd int) error {
		sa, err := ask(fd)
		switch sa := sa.(type) {
		case *unix.SockaddrInet4:
			addr = &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}
		case *unix.SockaddrInet6:
			addr = &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}
		}
		return err
	})
	return addr
}

// control calls f with the descriptor, which stays open meanwhile.
func (s socket) control(f func(fd int) error) error {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	if ctl := raw.Control(func(fd uintptr) { err = f(int(fd)) }); ctl != nil {
		return netError(ctl)
	}
	return err
}

// SetDeadline and its kin implement net.Conn.
func (s socket) SetDeadline(t time.Time) error      { return netError(s.file.SetDeadline(t)) }
func (s socket) SetReadDeadline(t time.Time) error  { return netError(s.file.SetReadDeadline(t)) }
func (s socket) SetWriteDeadline(t time.Time) error { return netError(s.file.SetWriteDeadline(t)) }
