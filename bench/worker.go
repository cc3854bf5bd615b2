package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// workerMode is the first argument of a worker process: this program, with one
// swarm. It reads a plan and then orders from standard input, one JSON object
// a line, and writes what the swarm says of itself the same way.
const workerMode = "swarm-worker"

// said is one line from a worker.
type said struct {
	Status *status `json:"status,omitempty"`
	Result *result `json:"result,omitempty"`
}

// serveSwarm is the worker, from its plan to its account: one swarm, until it
// is told to end or standard input does.
func serveSwarm(in io.Reader, out io.Writer) error {
	orders := json.NewDecoder(in)
	var p plan
	if err := orders.Decode(&p); err != nil {
		return fmt.Errorf("read the plan: %w", err)
	}
	if err := needFiles(p.Count); err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	var mu sync.Mutex
	write := func(v said) error {
		mu.Lock()
		defer mu.Unlock()
		return errors.Join(json.NewEncoder(w).Encode(v), w.Flush())
	}
	s, err := startSwarm(p, func(st status) { _ = write(said{Status: &st}) }) // a parent that is gone takes us along
	if err != nil {
		return err
	}
	given := make(chan order)
	go func() { // ends with standard input, which the parent closes
		defer close(given)
		for {
			var o order
			if orders.Decode(&o) != nil {
				return
			}
			given <- o
		}
	}()
	for {
		select {
		case o, ok := <-given:
			if ok && o.Do != orderEnd {
				s.obey(o)
				continue
			}
		case <-s.done:
		}
		r := s.end(0)
		return write(said{Result: &r})
	}
}

// worker is a swarm in a process of its own.
type worker struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	orders *json.Encoder
	ended  chan struct{}
	result result // once ended is closed
}

// startWorker starts the process; it inherits the core of this one.
func startWorker(self string, p plan, publish func(status, error)) (part, error) {
	w := &worker{cmd: exec.Command(self, workerMode), ended: make(chan struct{})}
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // never outlives the bench
	w.cmd.Stderr = os.Stderr
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if w.stdin, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a worker: %w", err)
	}
	w.orders = json.NewEncoder(w.stdin)
	go w.follow(out, publish) // ends with the process; close(ended) tells
	if err := w.orders.Encode(p); err != nil {
		return nil, fmt.Errorf("tell a worker its plan: %w", err)
	}
	return w, nil
}

// follow reads what the worker says, until it ends.
func (w *worker) follow(out io.Reader, publish func(status, error)) {
	defer close(w.ended)
	w.result.Failure = "a worker process ended without its account"
	for lines := json.NewDecoder(out); ; {
		var s said
		if lines.Decode(&s) != nil {
			break
		}
		if s.Status != nil {
			publish(*s.Status, nil)
		}
		if s.Result != nil {
			w.result = *s.Result
			break
		}
	}
	if w.result.Failure != "" {
		publish(status{}, errors.New(w.result.Failure))
	}
	_, _ = io.Copy(io.Discard, out)
	_ = w.cmd.Wait() // what matters is the result
}

func (w *worker) obey(o order) {
	_ = w.orders.Encode(o) // one that has ended says so itself
}

// end ignores expected: only the fleet knows what all parts together had to
// get.
func (w *worker) end(int64) result {
	w.obey(order{Do: orderEnd})
	_ = w.stdin.Close()
	<-w.ended
	return w.result
}
