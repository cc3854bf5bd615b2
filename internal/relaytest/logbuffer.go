package relaytest

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
)

// tailBytes is how much of a log a failed test prints, in bytes.
const tailBytes = 8 << 10

// stackMarks stand in the output of a Go program that broke.
var stackMarks = []string{"panic", "PANIC", "fatal error:", "DATA RACE", "runtime error", "SIGSEGV", "\ngoroutine 1 ["}

// noPanics is how the relay's closing line says that there was none.
const noPanics = " panics=0 "

// logBuffer keeps what a process writes. Safe for concurrent use.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// tail is the log's last part.
func (l *logBuffer) tail() string {
	s := l.String()
	if len(s) > tailBytes {
		return "…" + s[len(s)-tailBytes:]
	}
	return s
}

// takeDump cuts off and returns everything from byte mark on: a dump of
// goroutines that was asked for is no fault.
func (l *logBuffer) takeDump(mark int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	dump := string(l.buf.Bytes()[mark:])
	l.buf.Truncate(mark)
	return dump
}

// faults says what the log must not hold and holds, "" if nothing. A secret is
// named by its number only.
func (l *logBuffer) faults(secrets []string) string {
	s := strings.ReplaceAll(l.String(), noPanics, "")
	for _, mark := range stackMarks {
		if strings.Contains(s, mark) {
			return fmt.Sprintf("%q", mark)
		}
	}
	for i, secret := range secrets {
		if secret != "" && strings.Contains(s, secret) {
			return fmt.Sprintf("secret %d", i)
		}
	}
	return ""
}
