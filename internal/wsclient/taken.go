package wsclient

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// WaitTaken waits until the server has read every byte that was sent on these
// connections. The kernel tells: the receive queue of the server's end is
// empty. It is how a test makes two writes two reads without a sleep. A
// connection that the server has closed counts as taken. It works for servers
// on the same machine only.
func WaitTaken(conns ...*Conn) error {
	diag, err := openSockDiag()
	if err != nil {
		return err
	}
	defer diag.close()
	for _, c := range conns {
		deadline := time.Now().Add(c.timeout)
		for {
			taken, err := diag.taken(c)
			if err != nil {
				return err
			}
			if taken {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("the server left bytes of %s unread", c.LocalAddr())
			}
			time.Sleep(50 * time.Microsecond) // between two questions
		}
	}
	return nil
}

// sockDiag asks the kernel about single sockets, by sock_diag(7).
type sockDiag struct{ fd int }

// Numbers of linux/sock_diag.h and linux/inet_diag.h, and the offsets in their
// structs. The kernel's own byte order holds but for ports and addresses.
const (
	netlinkSockDiag  = 4
	sockDiagByFamily = 20

	diagHeader    = 16 // struct nlmsghdr
	diagRequest   = diagHeader + 56
	diagID        = diagHeader + 8 // struct inet_diag_sockid in the request
	diagReceive   = diagHeader + 56
	diagSend      = diagHeader + 60
	diagReplySize = diagHeader + 72
)

func openSockDiag() (sockDiag, error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, netlinkSockDiag)
	if err != nil {
		return sockDiag{}, fmt.Errorf("sock_diag: %w", err)
	}
	return sockDiag{fd}, nil
}

func (d sockDiag) close() { syscall.Close(d.fd) }

// taken looks at both ends: nothing of ours under way, nothing unread there.
func (d sockDiag) taken(c *Conn) (bool, error) {
	local, remote := c.tcp.LocalAddr(), c.tcp.RemoteAddr()
	_, sending, err := d.queues(local, remote)
	if err != nil || sending != 0 {
		return false, err
	}
	unread, _, err := d.queues(remote, local)
	return unread == 0, err
}

// queues returns the bytes that wait in the receive and send queues of the
// socket with these ends; 0 and 0 if there is none.
func (d sockDiag) queues(from, to net.Addr) (receive, send uint32, err error) {
	src, dst := netip.MustParseAddrPort(from.String()), netip.MustParseAddrPort(to.String())
	family := byte(syscall.AF_INET)
	if !src.Addr().Unmap().Is4() {
		family = syscall.AF_INET6
	}
	req := make([]byte, diagRequest)
	ne, be := binary.NativeEndian, binary.BigEndian
	ne.PutUint32(req[0:], diagRequest)
	ne.PutUint16(req[4:], sockDiagByFamily)
	ne.PutUint16(req[6:], syscall.NLM_F_REQUEST)
	req[diagHeader], req[diagHeader+1] = family, syscall.IPPROTO_TCP
	ne.PutUint32(req[diagHeader+4:], ^uint32(0)) // sockets in any state
	id := req[diagID:]
	be.PutUint16(id[0:], src.Port())
	be.PutUint16(id[2:], dst.Port())
	copy(id[4:], src.Addr().Unmap().AsSlice())
	copy(id[20:], dst.Addr().Unmap().AsSlice())
	ne.PutUint64(id[40:], ^uint64(0)) // no cookie

	if err := syscall.Sendto(d.fd, req, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return 0, 0, fmt.Errorf("sock_diag: %w", err)
	}
	reply := make([]byte, 4<<10)
	n, _, err := syscall.Recvfrom(d.fd, reply, 0)
	if err != nil {
		return 0, 0, fmt.Errorf("sock_diag: %w", err)
	}
	if n >= diagHeader+4 && ne.Uint16(reply[4:]) == syscall.NLMSG_ERROR {
		errno := syscall.Errno(-int32(ne.Uint32(reply[diagHeader:])))
		if errors.Is(errno, syscall.ENOENT) {
			return 0, 0, nil
		}
		return 0, 0, fmt.Errorf("sock_diag: %w", errno)
	}
	if n < diagReplySize {
		return 0, 0, fmt.Errorf("sock_diag: a reply of %d bytes", n)
	}
	return ne.Uint32(reply[diagReceive:]), ne.Uint32(reply[diagSend:]), nil
}
