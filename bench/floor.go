package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"
)

// A floor is the least that a server could do for a workload, as a child
// process of the bench itself, driven by the same clients in the same run. A
// relay's figure is judged by its ratio to the floor: that moves far less from
// machine to machine, and from minute to minute, than the figure itself.

// The floors, as the first argument of the child.
const (
	floorSockets = "floor-sockets" // handshakes and broadcasts with nothing around the system calls
	floorHTTP    = "floor-http"    // a POST that is read and answered, nothing else
)

// childModes are what this program is as a child of the bench, by its only
// argument.
func childModes() map[string]func() error {
	return map[string]func() error{
		floorSockets:  serveSockets,
		floorHTTP:     serveHTTP,
		bareMode:      serveBare,
		goroutineMode: serveGoroutines,
		workerMode:    func() error { return serveSwarm(os.Stdin, os.Stdout) },
	}
}

// isChild reports whether the arguments ask for a child.
func isChild(args []string) bool { return len(args) == 1 && childModes()[args[0]] != nil }

// runChild serves until standard input ends and returns the exit code.
func runChild(mode string) int {
	if err := childModes()[mode](); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	return exitOK
}

// rawLoop is one thread and one epoll with nothing around the system calls.
type rawLoop struct {
	epoll, listener int
	buf             []byte

	read  func(fd int) // a connection has something
	order func() error // standard input has something; io.EOF ends the loop
}

// busyWait is how long the loop waits as a C program would, in milliseconds.
// After that it lets the Go runtime know, which then leaves it alone: at rest
// it must not use the processor.
const busyWait = 50

// newRawLoop listens on a free port and says so. Its goroutine has the thread
// from here on.
func newRawLoop(name string) (*rawLoop, error) {
	runtime.LockOSThread()
	debug.SetGCPercent(-1) // nothing is allocated once it runs
	l := &rawLoop{buf: make([]byte, receiveBuffer)}
	var port int
	var err error
	if l.listener, port, err = listenLoopback(); err != nil {
		return nil, err
	}
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	for _, fd := range []int{l.listener, 0} {
		if err := watch(l.epoll, fd, unix.EPOLLIN); err != nil {
			return nil, err
		}
	}
	fmt.Printf("%s listening on http://127.0.0.1:%d\n", name, port)
	return l, nil
}

func (l *rawLoop) run() error {
	events := make([]unix.EpollEvent, eventBatch)
	for {
		n, errno := waitBriefly(l.epoll, events, busyWait)
		if errno != 0 {
			return os.NewSyscallError("epoll_wait", errno)
		}
		if n == 0 {
			var err error
			if n, err = unix.EpollWait(l.epoll, events, -1); err != nil && err != unix.EINTR {
				return os.NewSyscallError("epoll_wait", err)
			}
		}
		for _, ev := range events[:max(n, 0)] {
			var err error
			switch fd := int(ev.Fd); fd {
			case l.listener:
				err = l.accept()
			case 0:
				err = l.order()
			default:
				l.read(fd)
			}
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
		}
	}
}

func (l *rawLoop) accept() error {
	for {
		fd, errno := acceptNow(l.listener)
		if errno == unix.EAGAIN {
			return nil
		}
		if errno != 0 {
			return os.NewSyscallError("accept4", errno)
		}
		if err := watch(l.epoll, fd, unix.EPOLLIN|unix.EPOLLET); err != nil {
			return err
		}
	}
}

// handshakeAnswer is the same 101 for every client.
const handshakeAnswer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Accept: " + handshakeAccept + "\r\n\r\n"

// socketsFloor answers every request with the same 101, and writes the frame it
// is given on standard input to every socket.
type socketsFloor struct {
	*rawLoop
	answer []byte
	conns  []int32 // descriptors that have shaken hands
	place  []int32 // by descriptor: 1 more than its index in conns, 0 before it has shaken hands
	frame  []byte
}

func serveSockets() error {
	l, err := newRawLoop("floor")
	if err != nil {
		return err
	}
	f := &socketsFloor{rawLoop: l, answer: []byte(handshakeAnswer)}
	l.read, l.order = f.take, f.command
	return l.run()
}

// take takes a request, or the end of a connection.
func (f *socketsFloor) take(fd int) {
	n, errno := receive(fd, f.buf)
	if errno == unix.EAGAIN {
		return
	}
	for len(f.place) <= fd {
		f.place = append(f.place, 0)
	}
	if errno != 0 || n == 0 {
		f.drop(fd)
		return
	}
	if f.place[fd] > 0 {
		return
	}
	if _, errno := send(fd, f.answer); errno != 0 {
		f.drop(fd)
		return
	}
	f.conns = append(f.conns, int32(fd))
	f.place[fd] = int32(len(f.conns))
}

func (f *socketsFloor) drop(fd int) {
	if at := f.place[fd] - 1; at >= 0 {
		last := f.conns[len(f.conns)-1]
		f.conns[at], f.place[last] = last, at+1
		f.conns = f.conns[:len(f.conns)-1]
	}
	f.place[fd] = 0
	_ = unix.Close(fd)
}

// command reads one frame, its length in four bytes before it, and writes it
// to every socket. io.EOF is the order to end.
func (f *socketsFloor) command() error {
	var size [4]byte
	if _, err := io.ReadFull(os.Stdin, size[:]); err != nil {
		return err
	}
	if n := int(binary.BigEndian.Uint32(size[:])); n != len(f.frame) {
		f.frame = make([]byte, n)
	}
	if _, err := io.ReadFull(os.Stdin, f.frame); err != nil {
		return err
	}
	for _, fd := range f.conns {
		if n, errno := send(int(fd), f.frame); errno != 0 || n < len(f.frame) {
			return fmt.Errorf("a socket took %d bytes of %d: %w", n, len(f.frame), errno)
		}
	}
	return nil
}

// orderFrame makes a sockets floor send one frame to all.
func orderFrame(s *server, frame []byte) error {
	_, err := s.stdin.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...))
	return err
}

// serveHTTP answers every request with the same small 200.
func serveHTTP() error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := &fasthttp.Server{NoDefaultServerHeader: true, Handler: func(ctx *fasthttp.RequestCtx) {
		_ = ctx.PostBody()
		ctx.SetContentType("application/json")
		ctx.SetBodyString(`{"code":0,"msg":"ok"}`)
	}}
	go func() { // ends the process: nothing is worth a wait here
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = l.Close()
	}()
	fmt.Printf("floor listening on http://%v\n", l.Addr())
	return s.Serve(l)
}
