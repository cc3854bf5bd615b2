package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

const (
	fileName   = "delayed.db"
	newName    = "delayed.db.new" // becomes fileName when it is whole
	lockName   = "lock"
	dirMode    = 0o700 // bodies are nobody else's business
	fileMode   = 0o600
	moveAdvice = "move the folder away (or set another data_dir) and start again"
)

// folder is the directory of a store, locked against other processes for as
// long as it is open.
type folder struct {
	path string
	lock *os.File
}

// openFolder creates the folder if it is not there, and locks it. The lock is
// on a file of its own, since the file of messages is replaced by renaming.
func openFolder(path string) (*folder, error) {
	if err := os.MkdirAll(path, dirMode); err != nil {
		return nil, fmt.Errorf("creating the folder for delayed pushes: %w", classified(err))
	}
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, fmt.Errorf("locking the folder for delayed pushes: %w", classified(err))
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", path, ErrLocked)
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return &folder{path, lock}, nil
}

func (f *folder) file() string    { return filepath.Join(f.path, fileName) }
func (f *folder) newFile() string { return filepath.Join(f.path, newName) }

// holdsFile reports whether there is a file of messages.
func (f *folder) holdsFile() (bool, error) {
	_, err := os.Lstat(f.file())
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// adopt makes the new file the file of messages, for good when it returns.
func (f *folder) adopt() error {
	if err := os.Rename(f.newFile(), f.file()); err != nil {
		return err
	}
	return f.sync()
}

// sync makes the names in the folder survive a power loss, and the folder's
// own as well where its parent can be read.
func (f *folder) sync() error {
	if err := syncFolder(f.path); err != nil {
		return err
	}
	if err := syncFolder(filepath.Dir(f.path)); !errors.Is(err, os.ErrPermission) {
		return err
	}
	return nil
}

func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// dropNew removes what a creation or compaction that was cut off has left.
func (f *folder) dropNew() error {
	err := os.Remove(f.newFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func (f *folder) close() error { return f.lock.Close() }
