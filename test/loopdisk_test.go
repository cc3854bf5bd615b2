package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	loopBytes   = 64 << 20 // of the image; what is not written takes no room
	loopControl = "/dev/loop-control"

	// ext4Shutdown is EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32), and
	// ext4NoLogFlush its EXT4_GOING_FLAGS_NOLOGFLUSH: the file system ends at
	// once, and what it has in memory alone is gone (fs/ext4/ext4.h).
	ext4Shutdown   = 0x8004587d
	ext4NoLogFlush = 2
)

// loopDisk is an ext4 on an image of its own, whose power can be cut.
type loopDisk struct {
	t       *testing.T
	image   string
	dir     string // where it is mounted
	mounted bool
}

// newLoopDisk makes a disk and mounts it. It is gone with the test. Without the
// means the test is skipped.
func newLoopDisk(t *testing.T, folder string) *loopDisk {
	t.Helper()
	d := &loopDisk{t: t, image: filepath.Join(folder, "image"), dir: filepath.Join(folder, "disk")}
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		mkfs, err = exec.LookPath("/sbin/mkfs.ext4") // not on everybody's path
	}
	if err != nil {
		t.Skip("needs mkfs.ext4")
	}
	if err := errors.Join(os.Mkdir(d.dir, 0o700), os.WriteFile(d.image, nil, 0o600), os.Truncate(d.image, loopBytes)); err != nil {
		t.Fatal(err)
	}
	// All of it now: nothing is left for the kernel to do behind the test's back.
	out, err := exec.Command(mkfs, "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", d.image).CombinedOutput()
	if err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	t.Cleanup(func() { // after the end of those who use it
		if d.mounted {
			d.unmount()
		}
	})
	if err := d.mount(); errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		t.Skipf("needs the right to a loop device, and to mount an ext4: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	return d
}

// mount mounts the image, which replays its journal.
func (d *loopDisk) mount() error {
	image, err := os.OpenFile(d.image, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer image.Close()
	device, err := attach(image)
	if err != nil {
		return err
	}
	defer device.Close() // the kernel detaches it after the last use, the mount's
	if err := unix.Mount(device.Name(), d.dir, "ext4", 0, ""); err != nil {
		return os.NewSyscallError("mount", err)
	}
	d.mounted = true
	return nil
}

// attach makes the image a block device, for as long as that is used.
func attach(image *os.File) (*os.File, error) {
	control, err := os.OpenFile(loopControl, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for range 20 {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, os.NewSyscallError("LOOP_CTL_GET_FREE", err)
		}
		device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		config := unix.LoopConfig{Fd: uint32(image.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
		if err = unix.IoctlLoopConfigure(int(device.Fd()), &config); err == nil {
			return device, nil
		}
		device.Close()
		if !errors.Is(err, unix.EBUSY) { // somebody else was faster
			return nil, os.NewSyscallError("LOOP_CONFIGURE", err)
		}
	}
	return nil, errors.New("no loop device is free")
}

// cut cuts the power: what was not synced is lost, and from now on every write
// and every sync fails. The kernel still has what it has read.
func (d *loopDisk) cut() {
	d.t.Helper()
	root, err := os.Open(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	defer root.Close()
	if err := unix.IoctlSetPointerInt(int(root.Fd()), ext4Shutdown, ext4NoLogFlush); err != nil {
		d.t.Fatal(os.NewSyscallError("EXT4_IOC_SHUTDOWN", err))
	}
}

// unmount lets go of the disk; nothing on it is open.
func (d *loopDisk) unmount() {
	d.t.Helper()
	d.mounted = false
	if err := unix.Unmount(d.dir, 0); err != nil {
		d.t.Errorf("unmount: %v", err)
		if err := unix.Unmount(d.dir, syscall.MNT_DETACH); err != nil {
			d.t.Errorf("unmount, as soon as nobody uses it: %v", err)
		}
	}
}
