package engine

import (
	"github.com/mailru/easygo/netpoll"
)

// readiness is a set of epoll event bits. It is a hint: the read or the write
// that follows is the truth.
type readiness = netpoll.EpollEvent

const (
	readable readiness = netpoll.EPOLLIN | netpoll.EPOLLRDHUP | netpoll.EPOLLHUP | netpoll.EPOLLERR
	writable readiness = netpoll.EPOLLOUT

	// hungUp bits come with the end of the stream: a short read is then not
	// yet the last.
	hungUp readiness = netpoll.EPOLLRDHUP | netpoll.EPOLLHUP | netpoll.EPOLLERR

	// socketEvents arms a socket once for all: edge-triggered, an OUT edge
	// comes at the start and then only after a write fell short.
	socketEvents = netpoll.EPOLLIN | netpoll.EPOLLOUT | netpoll.EPOLLRDHUP | netpoll.EPOLLET

	// listenerEvents: edge-triggered, so that a listener whose connections
	// cannot be accepted for want of descriptors does not spin.
	listenerEvents = netpoll.EPOLLIN | netpoll.EPOLLET

	// signalEvents: for an eventfd or a timerfd, which its callback reads.
	signalEvents = netpoll.EPOLLIN

	// pollerClosed is what the epoll hands every callback that is left when
	// it is closed.
	pollerClosed readiness = 0x20
)

// poller is easygo's epoll with the rules it needs to be safe:
//
//   - add may be called from anywhere. remove only on the goroutine that runs
//     the callbacks, and before the descriptor is closed: the epoll takes the
//     callbacks of a whole batch of events first and runs them then, so that a
//     number closed and reused elsewhere would get its predecessor's event;
//   - an entry whose add failed must be removed, or the number is taken for
//     ever;
//   - a callback must not panic, block, or close the poller;
//   - a descriptor is never modified after add.
type poller struct {
	epoll *netpoll.Epoll
}

// newPoller starts an epoll and its goroutine, which lives until close. onFail
// is told if waiting fails for good.
func newPoller(onFail func(error)) (*poller, error) {
	ep, err := netpoll.EpollCreate(&netpoll.EpollConfig{OnWaitError: onFail})
	if err != nil {
		return nil, err
	}
	return &poller{epoll: ep}, nil
}

// add registers fd.
func (p *poller) add(fd int, events readiness, ready func(readiness)) error {
	err := p.epoll.Add(fd, events, ready)
	if err != nil && err != netpoll.ErrRegistered {
		_ = p.epoll.Del(fd) // reports the same failure again
	}
	return err
}

// remove takes fd out. The caller closes it afterwards.
func (p *poller) remove(fd int) {
	// It fails only if fd was never added or the epoll is gone: nothing to do.
	_ = p.epoll.Del(fd)
}

// close ends the poller's goroutine and waits for it.
func (p *poller) close() error { return p.epoll.Close() }
