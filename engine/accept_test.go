package engine

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
)

// A second engine on the port fails with the errno to branch on.
func TestSecondListenerOnThePort(t *testing.T) {
	s := serve(t, scripted{}, nil)
	o := DefaultOptions()
	o.Addr = s.addr
	before := openFiles(t)
	if _, err := Listen(o, scripted{}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("Listen: %v", err)
	}
	for fd, name := range openFiles(t) {
		if before[fd] == "" {
			t.Errorf("leaked %s=%s", fd, name)
		}
	}
}

func TestAddressesToListenOn(t *testing.T) {
	for _, tt := range []struct {
		addr string
		ok   bool
	}{
		{":0", true}, {"127.0.0.1:0", true}, {"localhost:0", true}, {"127.0.0.1", false}, {"127.0.0.1:99999", false}, {"203.0.113.9:0", false},
	} {
		fd, bound, err := bindListener(tt.addr)
		if (err == nil) != tt.ok {
			t.Errorf("%q: %v", tt.addr, err)
		}
		if err != nil {
			continue
		}
		if bound.(*net.TCPAddr).Port == 0 {
			t.Errorf("%q is bound to %v", tt.addr, bound)
		}
		_ = syscall.Close(fd)
	}
}

// Out of descriptors, an engine keeps what it has, waits, and accepts again
// when some are free.
func TestOutOfDescriptors(t *testing.T) {
	s := serve(t, identifying(), func(o *Options) { o.Loops = 1 })
	kept := s.dial("kept")
	var clients []int // sockets that are there before the descriptors run out
	for range 3 {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(fd)
		clients = append(clients, fd)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = uint64(slices.Max(clients)) + 10
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	restore := sync.OnceFunc(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	})
	defer restore()
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		defer f.Close()
	}

	to := &syscall.SockaddrInet4{Port: s.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	for _, fd := range clients {
		if err := syscall.Connect(fd, to); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "accepting has failed", func() bool { return s.stats.acceptFailed.Load() > 0 })
	if err := kept.SendText("=still served"); err != nil {
		t.Fatal(err)
	}
	wantText(t, kept, "still served")
	restore()
	await(t, "all are accepted", func() bool { return s.Stats().Accepted == int64(1+len(clients)) })
}

// A client that says nothing for a while is accepted all the same, and served
// when it speaks.
func TestClientThatSpeaksLate(t *testing.T) {
	s := serve(t, scripted{}, nil)
	c := s.connect(0)
	await(t, "accepted", func() bool { return s.Stats().Accepted == 1 })
	s.write(c, []byte(goodHead))
	p := make([]byte, 12)
	if _, err := io.ReadFull(c, p); err != nil || string(p) != "HTTP/1.1 101" {
		t.Errorf("%q, %v", p, err)
	}
}
