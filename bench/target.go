package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// prepare takes care of the limits, the cores and the program under test.
func (b *bench) prepare(workload string, args []string) error {
	b.clock = newClock()
	b.samplers = make(map[*server]*sampler)
	if err := b.needFiles(max(b.conns, b.large) + b.movers); err != nil {
		return err
	}
	if b.allCores {
		b.serverCPU, b.clientCPU = -1, -1
		workload += " -all-cores"
	}
	if b.target != "" {
		b.serverCPU = -1 // its own business
	}
	if b.clientCPU == cpuAuto {
		b.clientCPU = -1
		if b.serverCPU >= 0 {
			b.clientCPU = otherCPU(b.serverCPU)
		}
	}
	var err error
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	version := ""
	if b.target == "" {
		if err := b.findRelay(); err != nil {
			return err
		}
		version = b.relayVersion()
	}
	// The swarm's thread waits in the kernel: publishers go on beside it, even
	// on a single core.
	runtime.GOMAXPROCS(max(8, runtime.GOMAXPROCS(0)))
	if b.clientCPU >= 0 {
		if err := pinSelf(b.clientCPU); err != nil {
			return fmt.Errorf("-client-cpu: %w", err)
		}
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return os.NewSyscallError("uname", err)
	}
	b.report.run = runInfo{
		Type: "run", Workload: workload, build: ownBuild(), Time: time.Now().UTC().Format(time.RFC3339), Flags: args,
		Relay: b.relay, Version: version, Target: b.target, Kernel: unix.ByteSliceToString(u.Release[:]),
		Machine: processorName(), Cores: runtime.NumCPU(), ServerCPU: b.serverCPU, ClientCPU: b.clientCPU,
	}
	if b.target != "" {
		s, err := b.attach()
		if err != nil {
			return err
		}
		return s.greet()
	}
	return nil
}

// findRelay makes sure that there is a program to start.
func (b *bench) findRelay() (err error) {
	if b.relay == "" {
		if err := b.buildRelay(); err != nil {
			return err
		}
	}
	if b.relay, err = filepath.Abs(b.relay); err != nil {
		return err
	}
	if s, err := os.Stat(b.relay); err != nil || s.IsDir() || s.Mode()&0o111 == 0 {
		return fmt.Errorf("-relay %s: not a program that can be run", b.relay)
	}
	return nil
}

// needFiles raises the soft limit. Clients that are too many for this process
// go to workers; a server that the bench starts has no such way out.
func (b *bench) needFiles(n int) error {
	err := needFiles(n)
	if err == nil || b.target == "" || b.conns == 0 {
		return err
	}
	return needFiles(0)
}

// attach is the server that runs already.
func (b *bench) attach() (*server, error) {
	addr, err := net.ResolveTCPAddr("tcp4", b.target)
	if err != nil {
		return nil, fmt.Errorf("-target %s: %w; it is host:port", b.target, err)
	}
	s := &server{
		process: process{name: underTest, pid: b.pid, cpuID: -1, look: b.look},
		endpoint: endpoint{
			addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte(addr.IP.To4())), uint16(addr.Port)),
			key:  b.key, wsPath: b.wsPath, pushPath: b.pushPath,
		},
	}
	if _, err := s.cpu(); err != nil {
		return nil, fmt.Errorf("-pid %d: %w", b.pid, err)
	}
	_, err = s.memory()
	if err == nil {
		_, err = s.descriptors()
	}
	if err != nil {
		return nil, fmt.Errorf("-pid %d: %w; run the bench as the user of that process, or as root, or without -pid", b.pid, err)
	}
	return s, nil
}

// greet makes sure that a relay is there, and that it takes our key, before
// anything is measured. The push is one that no relay delivers: it has no
// event_name.
func (s *server) greet() error {
	c := http.Client{Timeout: startWithin}
	base := "http://" + s.addr.String()
	answer, err := c.Get(base + "/health")
	if err != nil {
		return fmt.Errorf("no relay at %v: %w; is it running, and is the port right? try: curl -i %s/health", s.addr, errors.Unwrap(err), base)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%v is no relay: /health was answered with %s", s.addr, answer.Status)
	}
	if answer, err = c.Get(base + s.wsPath); err != nil { // no handshake: where there are some, it is refused for that
		return err
	}
	_ = answer.Body.Close()
	if answer.StatusCode == http.StatusNotFound {
		return fmt.Errorf("%v answers 404 to GET %s: give its ws_path with -ws-path", s.addr, s.wsPath)
	}
	request, err := http.NewRequest(http.MethodPost, base+s.pushPath, strings.NewReader("{}"))
	if err != nil {
		return err
	}
	request.Header.Set("X-API-KEY", s.key)
	if answer, err = c.Do(request); err != nil {
		return err
	}
	_ = answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusUnauthorized:
		return fmt.Errorf("%v answers 401: it has another key; give the api_key of its config.json, or its RELAY_API_KEY, with -key", s.addr)
	case http.StatusNotFound:
		return fmt.Errorf("%v answers 404 to POST %s: give its push_path with -push-path", s.addr, s.pushPath)
	}
	return nil
}

// processorName is the first "model name" of /proc/cpuinfo.
func processorName() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
