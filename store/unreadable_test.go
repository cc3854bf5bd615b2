package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"go.etcd.io/bbolt"
)

// TestFileLostWhileOpen cuts the file under the store, and mends it. What
// cannot be read meanwhile is an error, but nothing is taken for damaged; then
// all is there again. Only writing stays forbidden.
func TestFileLostWhileOpen(t *testing.T) {
	for _, left := range []int64{0, 2 * block, 5 * block, 40 * block} {
		t.Run(fmt.Sprint(left, " bytes left"), func(t *testing.T) {
			dir := memoryDir(t)
			s := openIn(t, dir, Options{})
			keys := fill(t, s, 5000, make([]byte, benchBody))
			path := filepath.Join(dir, fileName)
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, left); err != nil {
				t.Fatal(err)
			}
			read := 0
			load := func() error {
				read = 0
				return s.Load(keys, func(key uint64, body []byte, err error) {
					read++
					if err != nil || len(body) != benchBody {
						t.Errorf("key %d: %d bytes, %v", key, len(body), err)
					}
				})
			}
			if err := load(); !errors.As(err, &fault{}) || read == len(keys) {
				t.Errorf("Load finds %d and %v", read, err)
			}
			if err := s.Each(func(uint64, []byte) error { return nil }); err == nil {
				t.Error("Each finds nothing amiss")
			}
			for range 2 {
				if err := s.Add([]uint64{s.LastKey() + 1}, [][]byte{nil}, nil); err == nil {
					t.Error("something was added")
				}
			}
			s.Remove(keys)
			if _, err := s.Cancelled(1); err == nil {
				t.Error("what was cancelled can be told")
			}
			if n := s.Stats().Damaged; n != 0 {
				t.Errorf("%d messages are damaged", n)
			}

			file, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := file.Write(whole); err != nil {
				t.Fatal(err)
			}
			file.Close()
			if err := load(); err != nil || read != len(keys) {
				t.Errorf("when the file is there again Load finds %d and %v", read, err)
			}
			if err := s.Add([]uint64{s.LastKey() + 1}, [][]byte{nil}, nil); err == nil {
				t.Error("something was added to a file that others have written")
			}
			if err := s.Close(); err == nil {
				t.Error("Close finds nothing amiss")
			}
		})
	}
}

// TestUnreadablePage has a bad spot in the file. Messages elsewhere are read,
// the others are told apart from those that are not there, and may come back.
func TestUnreadablePage(t *testing.T) {
	s := openIn(t, memoryDir(t), Options{})
	keys := fill(t, s, 1000, make([]byte, benchBody))
	size := uintptr(os.Getpagesize())
	var spot uintptr // where the database has mapped the page
	err := s.view(func(tx *bbolt.Tx) error {
		spot = uintptr(unsafe.Pointer(&tx.Bucket(messageBucket).Get(number(keys[500]))[0])) &^ (size - 1)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	protect := func(rights uintptr) {
		if _, _, errno := syscall.Syscall(syscall.SYS_MPROTECT, spot, size, rights); errno != 0 {
			t.Fatal(errno)
		}
	}
	asked := append(slices.Clone(keys), keys[999]+1) // and one that is not there
	load := func() (read []uint64, err error) {
		err = s.Load(asked, func(key uint64, body []byte, err error) {
			if read = append(read, key); err != nil || len(body) != benchBody {
				t.Errorf("key %d: %d bytes, %v", key, len(body), err)
			}
		})
		return read, err
	}
	protect(syscall.PROT_NONE)
	read, err := load()
	protect(syscall.PROT_READ)
	if !errors.As(err, &fault{}) || len(read) < 1000-int(size)/benchBody || len(read) == 1000 || slices.Contains(read, keys[500]) || !slices.IsSorted(read) {
		t.Errorf("Load finds %d and %v", len(read), err)
	}
	if text := fmt.Sprint(err); strings.Contains(text, "runtime") || strings.Contains(text, "pointer") {
		t.Errorf("the error is that of a program: %v", err)
	}
	if read, err = load(); err != nil || !slices.Equal(read, keys) || s.Stats().Damaged != 0 {
		t.Errorf("when the spot is good again Load finds %d and %v", len(read), err)
	}
}
