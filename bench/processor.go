package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// onCPU calls start on a thread that may run on this core only; a process
// begun there inherits that, with all its threads. A negative cpu changes
// nothing.
func onCPU(cpu int, start func() error) error {
	if cpu < 0 {
		return start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return os.NewSyscallError("sched_getaffinity", err)
	}
	if err := pin(0, cpu); err != nil {
		return err
	}
	err := start()
	if e := unix.SchedSetaffinity(0, &before); err == nil && e != nil {
		err = os.NewSyscallError("sched_setaffinity", e)
	}
	return err
}

// pin binds one thread, 0 for the caller's, to a core.
func pin(thread, cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(thread, &set); err != nil {
		return fmt.Errorf("use core %d: %w (is there such a core, and may this process use it?)", cpu, err)
	}
	return nil
}

// pinSelf binds all threads of this process; those to come inherit it.
func pinSelf(cpu int) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := pin(id, cpu); err != nil {
			return err
		}
	}
	return nil
}

// otherCPU picks a core besides the server's, -1 if there is none.
func otherCPU(server int) int {
	var allowed unix.CPUSet
	if unix.SchedGetaffinity(0, &allowed) != nil {
		return -1
	}
	for cpu := range 64 * len(allowed) {
		if cpu != server && allowed.IsSet(cpu) {
			return cpu
		}
	}
	return -1
}

// niceLess is the nice value of a thread that gives way.
const niceLess = 10

// giveWay lets the other threads of its core go before the caller's, until the
// function that it returns is called. Without the right to take that back
// (CAP_SYS_NICE) it does nothing: a thread that stayed so would pass it on to
// the servers that it starts, and one that ended would take them along.
func giveWay() (end func()) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if unix.Capget(&header, &caps[0]) != nil || caps[0].Effective&(1<<unix.CAP_SYS_NICE) == 0 {
		return func() {}
	}
	runtime.LockOSThread()
	thread := unix.Gettid()
	_ = unix.Setpriority(unix.PRIO_PROCESS, thread, niceLess) // allowed, see above
	return func() {
		_ = unix.Setpriority(unix.PRIO_PROCESS, thread, 0)
		runtime.UnlockOSThread()
	}
}

// ownFiles is how many files the bench opens besides its clients' sockets.
const ownFiles = 64

// needFiles raises the soft limit of open files and makes sure that n can be
// opened beside the bench's own.
func needFiles(n int) error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return os.NewSyscallError("getrlimit", err)
	}
	if uint64(n+ownFiles) > l.Max {
		return fmt.Errorf("%d connections need %d open files, and a process may have %d here: raise the limit "+
			"(as root: ulimit -Hn %d; for a service: LimitNOFILE=%d) or ask for at most %d connections",
			n, n+ownFiles, l.Max, n+ownFiles, n+ownFiles, max(0, int(l.Max)-ownFiles))
	}
	l.Cur = l.Max
	return os.NewSyscallError("setrlimit", unix.Setrlimit(unix.RLIMIT_NOFILE, &l))
}

// workersFor is how many processes n clients need: 0 if this one will do.
func workersFor(n int) int {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil || l.Max <= ownFiles {
		return 0
	}
	each := int(min(l.Max, 1<<30)) - ownFiles
	if n <= each {
		return 0
	}
	return (n + each - 1) / each
}
