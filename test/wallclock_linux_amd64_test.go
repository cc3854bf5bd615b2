package test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gorelay/internal/relaytest"
)

// wallClock sets the wall clock of one running relay, and of nothing else. A Go
// program reads its clocks by a function that the kernel maps into it, in the
// vDSO. The test writes another one over it: the system call, and for
// CLOCK_REALTIME so many seconds more. The monotonic clock stays what it is,
// as when a machine's clock is set.
type wallClock struct {
	relay  *relaytest.Relay
	memory *os.File
	code   int64 // where the function is
}

// clockCode replaces __vdso_clock_gettime(clockid_t edi, struct timespec *rsi).
var clockCode = []byte{
	0xb8, 228, 0, 0, 0, // mov eax, SYS_clock_gettime
	0x0f, 0x05, // syscall
	0x85, 0xff, // test edi, edi: CLOCK_REALTIME is 0
	0x75, 0x0a, // jnz to the ret
	0x48, 0x8b, 0x0d, 6, 0, 0, 0, // mov rcx, the seconds below
	0x48, 0x01, 0x0e, // add [rsi], rcx
	0xc3,       // ret
	0x90, 0x90, // up to a multiple of 8
	0, 0, 0, 0, 0, 0, 0, 0, // seconds
}

// secondsAt is where the seconds are in clockCode.
const secondsAt = 24

// takeClock takes over the wall clock of a relay, which goes on as it is. Where
// the memory of a child may not be written the test is skipped.
func takeClock(t *testing.T, r *relaytest.Relay) *wallClock {
	t.Helper()
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", r.PID()), os.O_RDWR, 0)
	if err != nil {
		t.Skipf("the clock of a child cannot be set here: its memory cannot be opened: %v", err)
	}
	t.Cleanup(func() { memory.Close() })
	start, end := vdso(t, r.PID())
	image, err := elf.NewFile(io.NewSectionReader(memory, start, end-start))
	if err != nil {
		t.Skipf("the clock of a child cannot be set here: its vDSO cannot be read: %v", err)
	}
	symbols, err := image.DynamicSymbols()
	if err != nil {
		t.Fatalf("symbols of the vDSO: %v", err)
	}
	for _, s := range symbols {
		if s.Name != "__vdso_clock_gettime" {
			continue
		}
		if s.Size < uint64(len(clockCode)) || s.Value%8 != 0 {
			t.Skipf("the clock of a child cannot be set here: its function has %d bytes at %#x", s.Size, s.Value)
		}
		c := &wallClock{relay: r, memory: memory, code: start + int64(s.Value)}
		c.write(t, c.code, clockCode)
		return c
	}
	t.Skip("the clock of a child cannot be set here: its vDSO has no clock_gettime")
	return nil
}

// set lets the wall clock be ahead of the machine's by so much, whole seconds.
func (c *wallClock) set(t *testing.T, by time.Duration) {
	t.Helper()
	c.write(t, c.code+secondsAt, binary.LittleEndian.AppendUint64(nil, uint64(int64(by/time.Second))))
}

// write changes the function while every thread of the relay stands still,
// outside of it.
func (c *wallClock) write(t *testing.T, at int64, b []byte) {
	t.Helper()
	defer c.relay.Signal(syscall.SIGCONT)
	eventually(t, "the threads of the relay are outside of its clock", func() bool {
		c.relay.Signal(syscall.SIGSTOP)
		eventually(t, "the relay stands still", func() bool { return allStopped(t, c.relay.PID()) })
		if !c.isInside(t) {
			return true
		}
		c.relay.Signal(syscall.SIGCONT)
		return false
	})
	if _, err := c.memory.WriteAt(b, at); err != nil {
		t.Skipf("the clock of a child cannot be set here: its memory cannot be written: %v", err)
	}
	got := make([]byte, len(b))
	if _, err := c.memory.ReadAt(got, at); err != nil || !bytes.Equal(got, b) {
		t.Fatalf("wrote %x, read %x: %v", b, got, err)
	}
}

// isInside reports whether a thread of the relay, which stands still, is in the
// function.
func (c *wallClock) isInside(t *testing.T) bool {
	t.Helper()
	for _, text := range ofThreads(t, c.relay.PID(), "syscall") {
		fields := strings.Fields(text) // the last is the program counter
		pc, err := strconv.ParseInt(fields[len(fields)-1], 0, 64)
		if err != nil {
			t.Fatalf("where a thread is: %q: %v", text, err)
		}
		if c.code <= pc && pc < c.code+int64(len(clockCode)) {
			return true
		}
	}
	return false
}

// allStopped reports whether every thread of a process is stopped.
func allStopped(t *testing.T, pid int) bool {
	t.Helper()
	for _, text := range ofThreads(t, pid, "stat") {
		state := text[strings.LastIndexByte(text, ')')+1:]
		if !strings.HasPrefix(state, " T") {
			return false
		}
	}
	return true
}

// ofThreads reads a file of each thread of a process.
func ofThreads(t *testing.T, pid int, name string) (texts []string) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/%s", pid, name))
	if err != nil || len(files) == 0 {
		t.Fatalf("threads of %d: %v", pid, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue // it has ended
		}
		if err != nil {
			t.Skipf("the clock of a child cannot be set here: %v", err)
		}
		texts = append(texts, string(b))
	}
	return texts
}

// vdso is where the kernel's functions are in the memory of a process.
func vdso(t *testing.T, pid int) (start, end int64) {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(maps), "\n") {
		if !strings.HasSuffix(line, "[vdso]") {
			continue
		}
		if _, err := fmt.Sscanf(line, "%x-%x", &start, &end); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		return start, end
	}
	t.Skip("the clock of a child cannot be set here: it has no vDSO")
	return 0, 0
}
