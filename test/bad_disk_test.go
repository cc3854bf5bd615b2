package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gorelay/internal/relaytest"
)

// TestDiskThatFailsToRead has a disk that reports an error for what the kernel
// does not have in memory: its image is cut short for a while. What is on it
// and falls due meanwhile waits, and fires when it can be read again.
func TestDiskThatFailsToRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := newLoopDisk(t, dir)
	config := relaytest.Config{"data_dir": filepath.Join(d.dir, "data"), "missed_grace": "0"}
	r := relaytest.StartRelay(t, relaytest.Setup{Dir: dir, Config: config})
	p := r.Publisher(t)
	// In the middle of many others: not beside a page that the relay has in use.
	many := strings.Repeat(`,{"event_name":"e","subject":`+quote(repeat("f", 2000))+`,"delay_seconds":3600}`, 500)[1:]
	wantData(t, call(t, p, "POST", batchPath, `{"items":[`+many+`]}`))
	late := pushed(t, p, body("late", toToken("a"), at(time.Now().Add(10*time.Second))))
	wantData(t, call(t, p, "POST", batchPath, `{"items":[`+many+`]}`))
	r.Kill()
	d.unmount()
	whole, err := os.ReadFile(d.image)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.mount(); err != nil {
		t.Fatal(err)
	}
	r = restart(t, r, config)
	p = r.Publisher(t)
	c := r.Dial(t, "/ws?token=a")
	settle(t, c)

	forget(t, filepath.Join(d.dir, "data", "delayed.db"))
	if err := os.Truncate(d.image, 0); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"/" + late, "?token=a", "?limit=1000"} {
		wantRefusal(t, call(t, p, "GET", relaytest.PushPath+target, ""), 503)
	}
	r.WaitLog("cannot read delayed messages from disk")
	push(t, p, body("at once", toToken("a")))
	wantEvent(t, c, "at once")
	image, err := os.OpenFile(d.image, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	if _, err := image.Write(whole); err != nil {
		t.Fatal(err)
	}
	wantEvent(t, c, "late")
	if n := strings.Count(r.Log(), "cannot read"); n != 1 {
		t.Errorf("the log says %d times that it cannot read", n)
	}
	r.Kill() // before its disk goes
}

// forget has the kernel drop what it holds of a file, but for what is mapped.
func forget(t *testing.T, path string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
}
