package store

import (
	"errors"
	"fmt"
	"runtime/debug"
	"syscall"
)

var (
	// ErrFull wraps the error of a call that found no room: a full disk
	// (ENOSPC), a quota (EDQUOT) or a limit on the size of a file (EFBIG).
	ErrFull = errors.New("no room for delayed pushes")
	// ErrReadOnly wraps the error of a call that may not write (EROFS, EACCES).
	ErrReadOnly = errors.New("delayed pushes cannot be written")
	// ErrLocked is the error of Open for a folder that a process has open.
	ErrLocked = errors.New("the folder is in use by another relay")
	// ErrDamaged wraps the error of Open for a file that cannot be trusted as
	// a whole. Open has changed nothing on disk.
	ErrDamaged = errors.New("the file of delayed pushes is damaged or not the relay's")
	// ErrNewer is the error of Open for a file of a later version.
	ErrNewer = errors.New("the file of delayed pushes is from a newer relay")
	// ErrClosed is the error of calls after Close.
	ErrClosed = errors.New("the store is closed")
	// ErrCorrupt is the error of Load for a body that is not as it was added.
	ErrCorrupt = errors.New("the delayed push is damaged on disk")
)

// fault is a read or write of mapped memory that the file could not serve: a
// disk that fails, or a file that shrank under the relay. It also stands for
// what the database says by panicking when its pages make no sense.
type fault struct{ what any }

func (f fault) Error() string {
	if _, signal := f.what.(interface{ Addr() uintptr }); signal { // see debug.SetPanicOnFault
		return "reading the file failed: the disk reports an error, or the file has become shorter"
	}
	return fmt.Sprintf("reading the file failed: %v", f.what)
}

// guarded calls f, which uses mapped memory, and turns a panic or a signal in
// it into an error: the relay goes on without its file.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if what := recover(); what != nil {
			err = fault{what}
		}
	}()
	return f()
}

// classified wraps err in the sentinel that tells a caller what to do about it.
func classified(err error) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) || errors.Is(err, ErrFull) || errors.Is(err, ErrReadOnly) {
		return err
	}
	switch errno {
	case syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG:
		return fmt.Errorf("%w: %w", ErrFull, err)
	case syscall.EROFS, syscall.EACCES, syscall.EPERM:
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	return err
}
