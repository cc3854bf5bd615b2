package doctor

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Disk is what is known of the folder of delayed pushes. The zero value is a
// relay that has none and keeps them in memory.
type Disk struct {
	Dir  string // "" = none
	Free Number // bytes that the user who looks may still fill
	Err  error  // why that user cannot write there, or why it cannot be looked at
}

// DiskOf looks at the folder dir and writes nothing. Where it is not there
// yet, the folder that it would be made in is looked at.
func DiskOf(dir string) Disk {
	d := Disk{Dir: dir}
	for at := dir; ; at = filepath.Dir(at) {
		folder := at + "/." // a file of that name is an error
		var s unix.Statfs_t
		err := unix.Statfs(folder, &s)
		if errors.Is(err, unix.ENOENT) && at != filepath.Dir(at) {
			continue
		}
		if err != nil {
			d.Err = err
			return d
		}
		d.Free = Known(math.MaxInt64) // a file system without end says so with a huge number
		if block := uint64(max(s.Bsize, 1)); s.Bavail < math.MaxInt64/block {
			d.Free = Known(int64(s.Bavail * block))
		}
		d.Err = unix.Access(folder, unix.W_OK|unix.X_OK)
		return d
	}
}

// disk tells what delayed pushes may take. It bounds no connections, and a
// full disk refuses delayed pushes alone.
func (e examiner) disk() Check {
	c := Check{Name: "data_dir", Value: "none", Verdict: Note,
		Why: "delayed pushes are kept in memory, with their content, and are lost with the process"}
	d := e.r.Disk
	if d.Dir == "" {
		return c
	}
	c.Value = "unknown"
	c.Why = fmt.Sprintf("delayed pushes are in %s; max_delayed (%d) of them take at most %s of memory", d.Dir, e.r.MaxDelayed, size(e.r.MaxDelayed*userPending))
	if free, known := d.Free.Get(); known {
		c.Value = size(free) + " free"
		c.Why += fmt.Sprintf(" and, of 1 KiB each, %s of disk: there is room for %d", size(e.r.MaxDelayed*diskPending), free/diskPending)
	}
	if d.Err != nil {
		c.Verdict = Advice
		c.Why += fmt.Sprintf("; whoever asks cannot write there (%v), and a relay that cannot does not start", d.Err)
	}
	return c
}
