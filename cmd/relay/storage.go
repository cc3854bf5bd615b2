package main

import (
	"errors"
	"fmt"
	"log/slog"
	"syscall"

	"gorelay/store"
)

// openStore opens the folder of delayed pushes; nil if they are kept in memory
// alone. c is settled.
func openStore(c Config, logger *slog.Logger) (*store.Store, error) {
	if c.DataDir == noDataDir {
		logger.Info("delayed pushes are kept in memory alone: a stop or a crash loses them (data_dir is none)")
		return nil, nil
	}
	s, err := store.Open(c.DataDir, store.Options{Logger: logger})
	if err != nil {
		return nil, storageError{err}
	}
	logger.Info(fmt.Sprintf("delayed pushes are kept in %s (%d waiting)", c.DataDir, s.Stats().Pending))
	return s, nil
}

// storageError is an error of openStore.
type storageError struct{ error }

func (e storageError) Unwrap() error { return e.error }

// storageProblem turns a storageError into a line that says what to do.
func storageProblem(err error, c Config) string {
	dir := c.DataDir
	switch {
	case errors.Is(err, store.ErrLocked):
		return fmt.Sprintf("data_dir %s is in use by another relay; stop it, or give this one a data_dir of its own", dir)
	case errors.Is(err, store.ErrFull):
		return fmt.Sprintf("data_dir %s: the disk is full; make room, or choose another data_dir", dir)
	case errors.Is(err, store.ErrReadOnly):
		return fmt.Sprintf("data_dir %s cannot be written to: %v; give the relay the right to, choose another data_dir, or set it to %q to keep delayed pushes in memory", dir, cause(err), noDataDir)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Sprintf("data_dir %s is no folder; choose another data_dir", dir)
	}
	return fmt.Sprintf("data_dir %s: %v", dir, err)
}

// cause is what the kernel said, without what was tried: a line that names
// the folder has that already.
func cause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
