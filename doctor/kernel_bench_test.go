package doctor

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// These measure the kernel's share of the costs in model.go, on loopback, with
// sockets set as the relay sets its own:
//
//	go test ./doctor -run '^$' -bench . -benchtime 1x
//
// They want a machine at rest and an open-file limit of 12,000.

const (
	idlePairs   = 5000
	unreadPairs = 2000
	sendPairs   = 2000
	lowat       = 128 << 10 // the relay's TCP_NOTSENT_LOWAT
)

// pair is one connection on loopback.
type pair struct{ client, server int }

// pairs opens n connections; cc names their congestion control, "" the
// machine's own. They close with the benchmark.
func pairs(b *testing.B, n int, cc string) []pair {
	b.Helper()
	must := func(err error) {
		if err != nil {
			b.Helper()
			b.Fatal(err)
		}
	}
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	defer unix.Close(listener)
	must(unix.Bind(listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(unix.Listen(listener, 128))
	must(unix.SetsockoptInt(listener, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
	must(unix.SetsockoptInt(listener, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, lowat))
	if cc != "" {
		if err := unix.SetsockoptString(listener, unix.IPPROTO_TCP, unix.TCP_CONGESTION, cc); err != nil {
			b.Skipf("congestion control %s: %v", cc, err)
		}
	}
	at, err := unix.Getsockname(listener)
	must(err)
	all := make([]pair, 0, n)
	b.Cleanup(func() {
		for _, p := range all {
			_ = unix.SetsockoptLinger(p.client, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			_ = unix.Close(p.client)
			_ = unix.Close(p.server)
		}
	})
	for range n {
		client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		must(err)
		must(unix.Connect(client, at))
		server, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		must(err)
		all = append(all, pair{client, server})
	}
	return all
}

// slab is what the kernel's allocator holds, in bytes.
func slab(b *testing.B) float64 {
	b.Helper()
	n, known := parseMeminfo(Machine{Root: os.DirFS("/")}.text("proc/meminfo"), "Slab").Get()
	if !known {
		b.Skip("no Slab in /proc/meminfo")
	}
	return float64(n)
}

// tcpMemory is the memory that the kernel counts against tcp_mem, in bytes.
func tcpMemory(b *testing.B) float64 {
	b.Helper()
	text, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		b.Skip(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "TCP:" && f[len(f)-2] == "mem" {
			n, _ := strconv.Atoi(f[len(f)-1])
			return float64(n * os.Getpagesize())
		}
	}
	b.Skip("no TCP line in /proc/net/sockstat")
	return 0
}

// BenchmarkIdleSocket tells the kernel memory of an idle connection at the
// server's side, as half of a pair, and of its entry in an epoll.
func BenchmarkIdleSocket(b *testing.B) {
	for b.Loop() {
		epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			b.Fatal(err)
		}
		before, pages := slab(b), tcpMemory(b)
		all := pairs(b, idlePairs, "")
		connected := slab(b)
		for _, p := range all {
			if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, p.server, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLET, Fd: int32(p.server)}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric((connected-before)/idlePairs/2, "B/socket")
		b.ReportMetric((slab(b)-connected)/idlePairs, "B/epoll-entry")
		b.ReportMetric((tcpMemory(b)-pages)/idlePairs/2, "tcp_mem-B/socket")
		_ = unix.Close(epoll)
	}
}

// deafen makes the client's kernel drop whatever arrives, so that nothing is
// acknowledged: what is sent stays with the server as on a long line.
func deafen(b *testing.B, p pair) {
	b.Helper()
	drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
	if err := unix.SetsockoptSockFprog(p.client, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop}); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkUnread tells what a message costs the server's kernel until the
// client acknowledges it, and what a client that never does can hold.
func BenchmarkUnread(b *testing.B) {
	for _, c := range []struct {
		name     string
		size, of int
	}{{"200B", 200, 1}, {"5x200B", 200, 5}, {"2kB", 2000, 1}, {"16kB", 16 << 10, 1}, {"full", 16 << 10, 1 << 20}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				all := pairs(b, unreadPairs, "")
				for _, p := range all {
					deafen(b, p)
				}
				message := make([]byte, c.size)
				before, pages, taken := slab(b), tcpMemory(b), 0
				for _, p := range all {
					for range c.of {
						n, err := unix.Write(p.server, message)
						if err != nil {
							break
						}
						taken += n
					}
				}
				b.ReportMetric(float64(taken)/unreadPairs, "bytes-taken/socket")
				b.ReportMetric((tcpMemory(b)-pages)/unreadPairs, "tcp_mem-B/socket")
				b.ReportMetric((slab(b)-before)/unreadPairs, "slab-B/socket")
			}
		})
	}
}

// BenchmarkSend compares the processor time of a small message under each
// congestion control, in turns: one to every socket, then five to every
// socket, which the clients read only afterwards.
func BenchmarkSend(b *testing.B) {
	const rounds = 21
	names := []string{"cubic", "reno", "bbr"}
	message, sink := make([]byte, 200), make([]byte, 4096)
	for b.Loop() {
		sets := map[string][]pair{}
		for _, cc := range names {
			sets[cc] = pairs(b, sendPairs, cc)
		}
		for _, in := range []int{1, 5} {
			took := map[string][]float64{}
			for range rounds {
				for _, cc := range names {
					began := processorTime(b)
					for range in {
						for _, p := range sets[cc] {
							_, _ = unix.Write(p.server, message) // a full socket shows in the reads
						}
					}
					took[cc] = append(took[cc], float64(processorTime(b)-began)/float64(sendPairs*in))
					for _, p := range sets[cc] {
						for left := in * len(message); left > 0; {
							n, err := unix.Read(p.client, sink)
							if n <= 0 {
								b.Fatalf("read: %d, %v", n, err)
							}
							left -= n
						}
					}
				}
			}
			for _, cc := range names {
				b.ReportMetric(median(took[cc]), cc+"-ns/send-of-"+strconv.Itoa(in))
			}
			ratio := make([]float64, rounds)
			for i := range ratio {
				ratio[i] = took["bbr"][i] / took["cubic"][i]
			}
			b.ReportMetric(median(ratio), "bbr/cubic-of-"+strconv.Itoa(in))
		}
	}
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}
