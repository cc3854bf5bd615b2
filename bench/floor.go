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

// socketsFloor accepts, answers every request with the same 101, and writes
// the frame it is given on standard input to every socket. It is one thread
// and one epoll.
type socketsFloor struct {
	epoll, listener int
	answer          []byte
	conns           []int32 // descriptors that have shaken hands
	place           []int32 // by descriptor: index in conns, or one of the below
	buf             []byte
	frame           []byte
}

// busyWait is how long the floor waits as a C program would, in milliseconds.
// After that it lets the Go runtime know, which then leaves it alone: at rest
// it must not use the processor.
const busyWait = 50

const (
	placeNone  = -1
	placeShake = -2 // accepted, its request has not come
)

func serveSockets() error {
	runtime.LockOSThread()
	debug.SetGCPercent(-1) // nothing is allocated once it runs
	f := &socketsFloor{buf: make([]byte, receiveBuffer)}
	f.answer = []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + handshakeAccept + "\r\n\r\n")
	var port int
	var err error
	if f.listener, port, err = listenLoopback(); err != nil {
		return err
	}
	if f.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := watch(f.epoll, f.listener, unix.EPOLLIN); err != nil {
		return err
	}
	if err := watch(f.epoll, 0, unix.EPOLLIN); err != nil {
		return err
	}
	fmt.Printf("floor listening on http://127.0.0.1:%d\n", port)
	return f.run()
}

func (f *socketsFloor) run() error {
	events := make([]unix.EpollEvent, eventBatch)
	for {
		n, errno := waitBriefly(f.epoll, events, busyWait)
		if errno != 0 {
			return os.NewSyscallError("epoll_wait", errno)
		}
		if n == 0 {
			var err error
			if n, err = unix.EpollWait(f.epoll, events, -1); err != nil && err != unix.EINTR {
				return os.NewSyscallError("epoll_wait", err)
			}
		}
		for _, ev := range events[:max(n, 0)] {
			var err error
			switch fd := int(ev.Fd); fd {
			case f.listener:
				err = f.accept()
			case 0:
				err = f.command()
			default:
				f.read(fd)
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

func (f *socketsFloor) accept() error {
	for {
		fd, errno := acceptNow(f.listener)
		if errno == unix.EAGAIN {
			return nil
		}
		if errno != 0 {
			return os.NewSyscallError("accept4", errno)
		}
		for len(f.place) <= fd {
			f.place = append(f.place, placeNone)
		}
		f.place[fd] = placeShake
		if err := watch(f.epoll, fd, unix.EPOLLIN|unix.EPOLLET); err != nil {
			return err
		}
	}
}

// read takes a request, or the end of a connection.
func (f *socketsFloor) read(fd int) {
	n, errno := receive(fd, f.buf)
	if errno == unix.EAGAIN {
		return
	}
	if errno != 0 || n == 0 {
		f.drop(fd)
		return
	}
	if f.place[fd] != placeShake {
		return
	}
	if _, errno := send(fd, f.answer); errno != 0 {
		f.drop(fd)
		return
	}
	f.place[fd] = int32(len(f.conns))
	f.conns = append(f.conns, int32(fd))
}

func (f *socketsFloor) drop(fd int) {
	if at := f.place[fd]; at >= 0 {
		last := f.conns[len(f.conns)-1]
		f.conns[at], f.place[last] = last, at
		f.conns = f.conns[:len(f.conns)-1]
	}
	f.place[fd] = placeNone
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
