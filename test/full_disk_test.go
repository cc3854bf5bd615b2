package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gorelay/internal/relaytest"
)

// smallDisk is the size in bytes of a disk that is soon full.
const smallDisk = 2 << 20

// TestDiskFull fills the disk of a relay: a file system of its own, where the
// rights allow one.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	err := syscall.Mount("tmpfs", disk, "tmpfs", 0, fmt.Sprintf("size=%d", smallDisk))
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		t.Skip("mounting a file system needs more rights; TestFileSizeLimit goes the same way")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the relay's end
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	filler := filepath.Join(disk, "filler")
	if err := os.WriteFile(filler, make([]byte, smallDisk/3), 0o600); err != nil {
		t.Fatal(err)
	}
	config := relaytest.Config{"data_dir": filepath.Join(disk, "data")}
	r := relaytest.StartRelay(t, relaytest.Setup{Dir: dir, Config: config})
	waiting := fill(t, r, func() {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	})
	r.Kill()
	wantWaiting(t, restart(t, r, config), waiting)
}

// TestFileSizeLimit fills the relay's file up to the process's limit of it.
func TestFileSizeLimit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := relaytest.Config{"port": "0", "api_key": relaytest.Key}
	writeConfig(t, dir, config)
	// The limit is set by a shell, as an administrator would; in blocks of 1024 bytes.
	p := relaytest.Run(t, relaytest.Command{
		File: "/bin/bash", Dir: dir,
		Args: []string{"-c", fmt.Sprintf(`ulimit -S -f %d && exec "$0"`, smallDisk>>10), relaytest.Build(t, "gorelay/cmd/relay")},
	})
	p.Secret(relaytest.Key)
	p.WaitLog("Push API path")
	_, rest, _ := strings.Cut(p.Log(), "http://localhost:")
	port, _, _ := strings.Cut(rest, "\n")
	r := &relaytest.Relay{Process: p, Dir: dir, Port: port, Addr: "127.0.0.1:" + port}
	waiting := fill(t, r, func() {
		var limit unix.Rlimit
		if err := unix.Prlimit(p.PID(), unix.RLIMIT_FSIZE, nil, &limit); err != nil {
			t.Fatal(err)
		}
		limit.Cur = limit.Max
		if err := unix.Prlimit(p.PID(), unix.RLIMIT_FSIZE, &limit, nil); err != nil {
			t.Fatal(err)
		}
	})
	r.Kill()
	wantWaiting(t, restart(t, r, nil), waiting)
}

// fill pushes delayed messages until the disk is full, judges what the relay
// does then, makes room, and wants that it goes on. It returns what waits.
func fill(t *testing.T, r *relaytest.Relay, makeRoom func()) []string {
	t.Helper()
	p := r.Publisher(t)
	c := r.Dial(t, "/ws?token=a")
	settle(t, c)
	timed := r.Dial(t, "/ws?token=timed")
	settle(t, timed)
	soon := time.Now().Add(3 * time.Second)
	big := quote(repeat("f", 16<<10))
	later := func(event string) string {
		return fmt.Sprintf(`{"event_name":%s,"subject":%s,"token":"a","delay_seconds":%d}`, quote(event), big, anHour)
	}
	var due []string
	for n := range 5 { // fall due while the disk is full
		due = append(due, pushed(t, p, body(fmt.Sprintf("due%d", n), toToken("timed"), at(soon.Add(time.Duration(n)*time.Millisecond)))))
	}
	wantFull := func(path, text string) {
		t.Helper()
		answer := call(t, p, "POST", path, text)
		if msg := wantRefusal(t, answer, 503); !strings.Contains(msg, "disk is full") {
			t.Errorf("%q does not say that the disk is full", msg)
		}
		wantRetryAfter(t, answer)
	}
	var accepted []string
	// Near the end one may still fit where another did not.
	for refusals := 0; refusals < 10; {
		answer := call(t, p, "POST", relaytest.PushPath, later("hour"))
		if answer.Status != 200 {
			refusals++
			continue
		}
		refusals = 0
		accepted = append(accepted, get[string](t, wantData(t, answer), "id"))
		if len(accepted) > 2*smallDisk/(16<<10) {
			t.Fatal("the disk does not get full")
		}
	}
	t.Logf("%d pushes of 16 KiB fit", len(accepted))
	if len(accepted) < 10 {
		t.Errorf("only %d pushes fit", len(accepted))
	}
	for range 3 {
		wantFull(relaytest.PushPath, later("none"))
		wantFull(batchPath, `{"items":[`+later("none")+`,`+later("none")+`]}`)
	}
	d := wantData(t, call(t, p, "POST", batchPath, `{"items":[`+body("now", toToken("a"))+`,`+later("none")+`]}`))
	wantMember(t, d, "accepted", "1")
	wantMember(t, d, "refused", "1")
	wantEvent(t, c, "now")
	push(t, p, body("at once", toToken("a")))
	wantEvent(t, c, "at once")
	wantHealthy(t, r)

	// What was accepted is all there, can be looked up, and fires.
	if shown := ids(list(t, p, "a", 1000)); !slices.Equal(shown, accepted) {
		t.Errorf("%d are shown, %d were accepted", len(shown), len(accepted))
	}
	for n := range due {
		wantEvent(t, timed, fmt.Sprintf("due%d", n))
	}
	wantRefusal(t, call(t, p, "DELETE", relaytest.PushPath+"/"+due[0], ""), 409)

	// Room is what makes it go on, nothing else. What takes one back may need some.
	makeRoom()
	var id string
	eventually(t, "a push after there is room", func() bool {
		answer := call(t, p, "POST", relaytest.PushPath, later("after"))
		if answer.Status == 200 {
			id = get[string](t, wantData(t, answer), "id")
		}
		return answer.Status == 200
	})
	wantData(t, call(t, p, "DELETE", relaytest.PushPath+"/"+accepted[0], ""))
	accepted = append(accepted[1:], id)
	if shown := ids(list(t, p, "a", 1000)); !slices.Equal(shown, accepted) {
		t.Errorf("%d are shown, want %d", len(shown), len(accepted))
	}
	pushed(t, p, body("fires", toToken("a"), inSeconds(1)))
	wantEvent(t, c, "fires")
	return accepted
}

// wantWaiting wants these to wait after a crash. One that had just fired may be
// there again.
func wantWaiting(t *testing.T, r *relaytest.Relay, want []string) {
	t.Helper()
	p := r.Publisher(t)
	got := list(t, p, "", 1000)
	now := time.Now().UnixMilli()
	got = slices.DeleteFunc(got, func(s scheduled) bool { return s.DeliverAt <= now })
	if got := ids(got); !slices.Equal(got, want) {
		t.Errorf("%d wait after a crash, want %d", len(got), len(want))
	}
	wantHealthy(t, r)
}
