package main

import (
	"bufio"
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
)

// server is a program under test, or what it is compared with: a child process
// on a core of its own, or one that somebody else has started.
type server struct {
	process
	endpoint
	tame   bool
	doomed bool           // its end is a crash
	cmd    *exec.Cmd      // nil if somebody else has started it
	stdin  io.WriteCloser // commands to a floor
	exited chan struct{}

	logMu sync.Mutex
	log   []string // its last lines
}

// endpoint is where a server is spoken to.
type endpoint struct {
	addr     netip.AddrPort
	key      string
	wsPath   string
	pushPath string
}

// program says what to start.
type program struct {
	name string
	file string
	args []string
	dir  string        // its working directory
	cpu  int           // the core it may use; negative for any
	look time.Duration // see quiet
	// within is how long it may take until it says where it listens.
	within time.Duration
	tame   bool // ends with its standard input, not by SIGTERM
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
	s := &server{
		process:  process{name: p.name, cpuID: p.cpu, look: p.look},
		endpoint: endpoint{key: apiKey, wsPath: wsPath, pushPath: pushPath},
		tame:     p.tame, cmd: exec.Command(p.file, p.args...), exited: make(chan struct{}),
	}
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
	s.pid = s.cmd.Process.Pid
	port := make(chan int, 1)
	go s.follow(out, port) // ends with the process; close(exited) tells
	late := time.NewTimer(p.within)
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
		err = fmt.Errorf("no line with http://HOST:PORT within %v", p.within)
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
		s.logMu.Lock()
		if s.log = append(s.log, line); len(s.log) > keptLines {
			s.log = slices.Delete(s.log, 0, 1)
		}
		s.logMu.Unlock()
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
	s.logMu.Lock()
	defer s.logMu.Unlock()
	return strings.Join(s.log, "\n")
}

// stop ends the process as an operator does, and wants exit code 0. One that
// is doomed gets SIGKILL.
func (s *server) stop() error {
	if s.cmd == nil {
		return nil // not ours
	}
	if s.doomed {
		s.kill()
		return nil
	}
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
