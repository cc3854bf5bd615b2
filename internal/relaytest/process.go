package relaytest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Patience bounds every wait for something that must happen. It is far longer
// than anything takes, even on a busy machine: only a hang meets it.
const Patience = 30 * time.Second

// Command says how to run a program.
type Command struct {
	File        string   // the program
	Args        []string // its arguments
	Dir         string   // its working directory
	Env         []string // NAME=value, besides the few that every program gets
	Descriptors int      // its hard limit of open files; 0 inherits the test's
}

// Process is a running program whose log is kept. When the test ends, it is
// stopped if it still runs; the test fails if it did not end with code 0 then,
// or if its log holds a stack trace, a data race or a secret.
type Process struct {
	t   testing.TB
	cmd *exec.Cmd
	log *logBuffer

	done   chan struct{} // closed when the process has ended
	secret []string      // owned by the test's goroutine
}

// Run starts the command. The process ends with the test at the latest.
func Run(t testing.TB, c Command) *Process {
	t.Helper()
	name, args := c.File, c.Args
	if c.Descriptors > 0 {
		// A shell sets both limits, so that the program cannot raise its own.
		script := fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, c.Descriptors)
		name, args = "/bin/sh", append([]string{"-c", script, c.File}, c.Args...)
	}
	p := &Process{t: t, cmd: exec.Command(name, args...), log: new(logBuffer), done: make(chan struct{})}
	p.cmd.Dir = c.Dir
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "GOTRACEBACK=all"}, c.Env...)
	if procs := os.Getenv("GOMAXPROCS"); procs != "" {
		p.cmd.Env = append(p.cmd.Env, "GOMAXPROCS="+procs)
	}
	// If the test process dies, nothing stops the program but the kernel.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", c.File, err)
	}
	go func() { // ends with the process; awaited by Wait
		defer close(p.done)
		_ = p.cmd.Wait() // the code is read from ProcessState
	}()
	t.Cleanup(p.cleanup)
	return p
}

func (p *Process) cleanup() {
	if p.running() {
		if code := p.Stop(); code != 0 {
			p.t.Errorf("exit code %d at the end of the test, want 0", code)
		}
	}
	if bad := p.log.faults(p.secret); bad != "" {
		p.t.Errorf("the log holds %s", bad)
	}
	if p.t.Failed() {
		p.t.Logf("log of %s:\n%s", p.cmd.Path, p.log.tail())
	}
}

// Secret names texts that must never stand in the log, such as tokens.
func (p *Process) Secret(texts ...string) { p.secret = append(p.secret, texts...) }

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log is all that the process has written to its standard output and error.
func (p *Process) Log() string { return p.log.String() }

// WaitLog waits until the log contains text.
func (p *Process) WaitLog(text string) {
	p.t.Helper()
	err := WaitFor(func() bool { return strings.Contains(p.Log(), text) || !p.running() })
	if err != nil || !strings.Contains(p.Log(), text) {
		p.t.Fatalf("no %q in the log:\n%s", text, p.log.tail())
	}
}

func (p *Process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Signal sends a signal; a process that is gone does not mind.
func (p *Process) Signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("signal: %v", err)
	}
}

// Wait waits for the end and returns the exit code, -1 for a death by signal.
// After Patience the process is killed and the test fails.
func (p *Process) Wait() int {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	select {
	case <-p.done:
	case <-ctx.Done():
		_ = p.cmd.Process.Kill()
		<-p.done
		p.t.Errorf("process did not end within %v", Patience)
	}
	return p.cmd.ProcessState.ExitCode()
}

// Stop sends SIGTERM and returns the exit code.
func (p *Process) Stop() int {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	return p.Wait()
}

// Kill ends the process as a crash does.
func (p *Process) Kill() {
	p.t.Helper()
	p.Signal(syscall.SIGKILL)
	p.Wait()
}

// Goroutines ends the process with SIGQUIT and returns the stacks that the
// runtime printed, one for each goroutine of the program's own.
func (p *Process) Goroutines() []string {
	p.t.Helper()
	mark := len(p.Log())
	p.Signal(syscall.SIGQUIT)
	p.Wait()
	dump := p.log.takeDump(mark)
	var stacks []string
	for _, block := range strings.Split(dump, "\n\n") {
		if strings.HasPrefix(strings.TrimSpace(block), "goroutine ") {
			stacks = append(stacks, strings.TrimSpace(block))
		}
	}
	return stacks
}

// WaitFor waits until cond holds, and gives an error after Patience.
func WaitFor(cond func() bool) error {
	deadline := time.Now().Add(Patience)
	for !cond() {
		if time.Now().After(deadline) {
			return fmt.Errorf("the condition did not come true within %v", Patience)
		}
		time.Sleep(2 * time.Millisecond) // between two looks at the condition
	}
	return nil
}
