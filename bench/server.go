package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// server is a program under test, or a floor, as a child process on a core of
// its own.
type server struct {
	cpuID  int // the core it may use; negative for any
	name   string
	tame   bool
	look   time.Duration
	cmd    *exec.Cmd
	addr   netip.AddrPort
	stdin  io.WriteCloser // commands to a floor
	exited chan struct{}

	mu  sync.Mutex
	log []string // its last lines
}

// program says what to start.
type program struct {
	name string
	file string
	args []string
	dir  string        // its working directory
	cpu  int           // the core it may use; negative for any
	look time.Duration // see quiet
	tame bool          // ends with its standard input, not by SIGTERM
}

const (
	startWithin = 10 * time.Second
	stopWithin  = 15 * time.Second
	keptLines   = 20
)

// startLine is how a server says where it listens.
var startLine = regexp.MustCompile(`http://[^\s"/]*:(\d+)`)

// startServer runs the program and waits until it says where it listens.
func startServer(p program) (*server, error) {
	s := &server{cpuID: p.cpu, name: p.name, tame: p.tame, look: p.look, cmd: exec.Command(p.file, p.args...), exited: make(chan struct{})}
	s.cmd.Dir = p.dir
	s.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return name == "PORT" || name == "WS_PATH" || name == "PUSH_PATH" || name == "GOMAXPROCS" || strings.HasPrefix(name, "RELAY_")
	})
	if p.tame { // a floor needs no preemption: it would be woken for nothing
		s.cmd.Env = append(s.cmd.Env, "GODEBUG=asyncpreemptoff=1")
	}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // never outlives the bench
	stdin, err := s.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	s.stdin = stdin
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.cmd.Stdout, s.cmd.Stderr = in, in
	err = onCPU(p.cpu, s.cmd.Start)
	_ = in.Close()
	if err != nil {
		_ = out.Close()
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	port := make(chan int, 1)
	go s.follow(out, port) // ends with the process; close(exited) tells
	late := time.NewTimer(startWithin)
	defer late.Stop()
	select {
	case n := <-port:
		if n > 0 {
			s.addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(n))
			return s, nil
		}
		err = errors.New("its start line has port 0 and not the port it chose")
	case <-s.exited:
		err = errors.New("it ended at once")
	case <-late.C:
		err = fmt.Errorf("no line with http://HOST:PORT within %v", startWithin)
	}
	log := s.lastLines()
	s.kill()
	return nil, fmt.Errorf("start %s: %w; its output:\n%s", p.name, err, log)
}

// follow reads what the process writes, until it ends.
func (s *server) follow(out *os.File, port chan<- int) {
	defer close(s.exited)
	defer out.Close()
	found := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		s.mu.Lock()
		if s.log = append(s.log, line); len(s.log) > keptLines {
			s.log = slices.Delete(s.log, 0, 1)
		}
		s.mu.Unlock()
		if m := startLine.FindStringSubmatch(line); m != nil && !found {
			found = true
			n, _ := strconv.Atoi(m[1]) // digits only
			port <- n
		}
	}
	_, _ = io.Copy(io.Discard, out) // after a line that is too long to scan
	_ = s.cmd.Wait()                // the code is read from ProcessState
}

func (s *server) lastLines() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.log, "\n")
}

// stop ends the process as an operator does, and wants exit code 0.
func (s *server) stop() error {
	_ = s.stdin.Close()
	if !s.tame {
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // one that has ended shows below
	}
	late := time.NewTimer(stopWithin)
	defer late.Stop()
	select {
	case <-s.exited:
	case <-late.C:
		s.kill()
		return fmt.Errorf("%s did not end within %v of SIGTERM", s.name, stopWithin)
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s ended with exit code %d; its output:\n%s", s.name, code, s.lastLines())
	}
	return nil
}

func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.exited
}

// cpu is the processor time that all threads of the process have used so far,
// those that have ended too, to the nanosecond.
func (s *server) cpu() (time.Duration, error) {
	var t unix.Timespec
	clock := int32(^s.cmd.Process.Pid<<3 | 2) // clock_getcpuclockid(3): the scheduler's clock
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("processor time of %s: %w; its last output:\n%s", s.name, err, s.lastLines())
	}
	return time.Duration(t.Nano()), nil
}

// clockTick is the unit of the times in /proc/PID/stat (USER_HZ).
const clockTick = 10 * time.Millisecond

// modes splits the processor time, in steps of clockTick.
func (s *server) modes() (user, system time.Duration, err error) {
	stat, err := os.ReadFile(s.proc("stat"))
	if err != nil {
		return 0, 0, err
	}
	// The name in parentheses may hold spaces. utime and stime are the 14th
	// and the 15th field (proc_pid_stat(5)), the 12th and 13th behind it.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, 0, fmt.Errorf("%s: too few fields", s.proc("stat"))
	}
	u, err1 := strconv.ParseInt(string(fields[11]), 10, 64)
	k, err2 := strconv.ParseInt(string(fields[12]), 10, 64)
	return time.Duration(u) * clockTick, time.Duration(k) * clockTick, errors.Join(err1, err2)
}

// memory is what the process holds, in bytes.
type memory struct {
	rss, pss  int64
	anonymous int64 // private, not of a file: heap, stacks and the runtime's own
	peakRSS   int64
}

// memory walks the page tables (smaps_rollup), so that it is exact; the
// counters of status lag behind by up to some hundred KiB on several cores.
func (s *server) memory() (m memory, err error) {
	err = errors.Join(
		readKiB(s.proc("smaps_rollup"), map[string]*int64{"Rss:": &m.rss, "Pss:": &m.pss, "Anonymous:": &m.anonymous}),
		readKiB(s.proc("status"), map[string]*int64{"VmHWM:": &m.peakRSS}))
	return m, err
}

func (s *server) proc(file string) string {
	return fmt.Sprintf("/proc/%d/%s", s.cmd.Process.Pid, file)
}

// readKiB reads lines such as "Rss:   1234 kB" into bytes.
func readKiB(file string, into map[string]*int64) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	missing := len(into)
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 2 || into[f[0]] == nil {
			continue
		}
		n, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		*into[f[0]] = n << 10
		missing--
	}
	if missing != 0 {
		return fmt.Errorf("%s: %d of the expected lines are not there", file, missing)
	}
	return nil
}
