package engine

import (
	"encoding/binary"
	"log/slog"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// turn is how a worker in the middle of a sweep or of a long list, or a loop before
// it waits, lets everybody else go first.
//
// runtime.Gosched is not enough. It keeps the worker runnable, and the Go
// scheduler asks the network what is ready only when nothing is runnable (or
// every 10 ms): requests that have come would wait, unread, for the end of the
// broadcast. So the worker queues where they do. It makes an eventfd readable
// and waits for it: the scheduler has to look at the network to go on, and
// what it finds there is the worker and all the others.
type turn struct {
	file  *os.File // nil if there was none to be had
	raw   syscall.RawConn
	rung  bool
	await func(fd uintptr) bool // what raw.Read calls; made once, so that a yield allocates nothing
}

// newTurn is called before its user starts. close must be called.
func newTurn(log *slog.Logger) *turn {
	t := &turn{}
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err == nil {
		t.file = os.NewFile(uintptr(fd), "turn")
		t.raw, err = t.file.SyscallConn()
	}
	if err != nil {
		log.Warn("pushes wait longer while a broadcast runs", "error", os.NewSyscallError("eventfd", err))
		t.close()
		return &turn{}
	}
	t.await = t.ring
	return t
}

// yield returns when the network has been looked at once.
func (t *turn) yield() {
	if t.file == nil {
		runtime.Gosched()
		return
	}
	t.rung = false
	// It fails only if the runtime cannot wait for the descriptor: then the
	// worker just goes on.
	_ = t.raw.Read(t.await)
}

// yieldToAll returns when the network has been looked at, and whoever it let go on
// has had the processor.
//
// The scheduler takes all that the network has ready at once and runs it in an
// order of its own: what comes behind the caller would wait for as long as that
// keeps the processor. So the caller goes to the end of the queue, and once more,
// behind those who were let go on meanwhile. That is for when there is little to
// do: where one yield takes long already, all have had the processor.
func (t *turn) yieldToAll() {
	began := time.Now()
	t.yield()
	for range 2 {
		if time.Since(began) > longTurn {
			return
		}
		runtime.Gosched()
	}
}

// longTurn is how long a yield takes on a busy processor.
const longTurn = time.Millisecond

// ring is called twice in a yield: first it makes the descriptor readable and
// asks to wait, then it is.
//
// The count is never taken out. The runtime watches for edges, and each write
// is one; 2⁶⁴ of them do not come together.
func (t *turn) ring(fd uintptr) (done bool) {
	if t.rung {
		return true
	}
	t.rung = true
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, err := unix.Write(int(fd), one[:])
	return err != nil // nothing to wait for
}

func (t *turn) close() {
	if t.file != nil {
		_ = t.file.Close() // nothing was buffered
	}
}
