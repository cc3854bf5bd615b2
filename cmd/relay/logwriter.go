package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// logQueue is how many lines may wait for whoever takes the log.
const logQueue = 4096

// logFlush is how long the end of the program waits for them.
const logFlush = 500 * time.Millisecond

// logWriter lets nobody wait for the log: a terminal that is stopped or a pipe
// that nobody reads would otherwise stop the relay with its next line. Lines
// go to the writer in their order by a goroutine of their own; when too many
// wait, the newest are lost, and a line says how many.
type logWriter struct {
	to    io.Writer
	lines chan []byte
	done  chan struct{} // closed when everything before close is written

	mu     sync.Mutex
	lost   int
	closed bool
}

// newLogWriter starts the goroutine, which ends after close.
func newLogWriter(to io.Writer) *logWriter {
	w := &logWriter{to: to, lines: make(chan []byte, logQueue), done: make(chan struct{})}
	go w.run()
	return w
}

func (w *logWriter) run() {
	defer close(w.done)
	for line := range w.lines {
		// A log that cannot be written has nowhere to say so.
		_, _ = w.to.Write(line)
		if n := w.takeLost(); n > 0 {
			_, _ = fmt.Fprintf(w.to, "%d log lines were lost: nobody took them in time\n", n)
		}
	}
}

func (w *logWriter) takeLost() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, w.lost = w.lost, 0
	return n
}

// Write queues one line. It never blocks and never fails.
func (w *logWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return len(line), nil
	}
	select {
	case w.lines <- append([]byte(nil), line...):
	default:
		w.lost++
	}
	return len(line), nil
}

// close takes no more lines and waits, within logFlush, until the others are
// written.
func (w *logWriter) close() {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.lines)
	}
	w.mu.Unlock()
	select {
	case <-w.done:
	case <-time.After(logFlush):
	}
}
