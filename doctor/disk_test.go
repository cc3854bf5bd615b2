package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestDiskOf(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		dir  string
		err  error
	}{
		{"there", dir, nil},
		{"not yet", filepath.Join(dir, "a", "b"), nil},
		{"from here", "data", nil},
		{"a file", file, syscall.ENOTDIR},
		{"below a file", filepath.Join(file, "a"), syscall.ENOTDIR},
		{"no name of a file", "a\x00b", syscall.EINVAL},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := DiskOf(tc.dir)
			free, known := d.Free.Get()
			if d.Dir != tc.dir || d.Err != tc.err || known != (tc.err == nil) || free < 0 {
				t.Errorf("%+v, want the error %v", d, tc.err)
			}
		})
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("it left %v", left)
	}
}

// Whatever stands in the row, it bounds no connections.
func TestDisk(t *testing.T) {
	for _, tc := range []struct {
		name    string
		disk    Disk
		value   string
		verdict Verdict
		why     string
	}{
		{"none", Disk{}, "none", Note, "kept in memory"},
		{"room", Disk{Dir: "/d", Free: Known(3 << 30)}, "3.0 GiB free", Note, "are in /d; max_delayed (10000000) of them take at most 1.9 GiB of memory and, of 1 KiB each, 14.0 GiB of disk: there is room for 2147483"},
		{"full", Disk{Dir: "/d", Free: Known(0)}, "0 B free", Note, "there is room for 0"},
		{"not writable", Disk{Dir: "/d", Free: Known(5), Err: syscall.EROFS}, "5 B free", Advice, "cannot write there (read-only file system)"},
		{"not to be looked at", Disk{Dir: "/d", Err: syscall.ENOTDIR}, "unknown", Advice, "cannot write there (not a directory)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := relay()
			r.MaxDelayed, r.Disk = 10_000_000, tc.disk
			report := Examine(fake(roomy()).Facts(), r, 10)
			c := check(t, report, "data_dir")
			if !report.OK || c.Value != tc.value || c.Verdict != tc.verdict || !strings.Contains(c.Why, tc.why) {
				t.Errorf("ok %v, %+v", report.OK, c)
			}
			if _, bounds := c.Fits.Get(); bounds {
				t.Errorf("it bounds the connections: %+v", c)
			}
		})
	}
}
