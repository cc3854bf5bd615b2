package store

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// FuzzUnseal gives records as a disk might: what is taken for whole is what
// seal makes of it.
func FuzzUnseal(f *testing.F) {
	key := number(1 << 47)
	f.Add(key, seal(key, []byte("body")))
	f.Add(key, seal(key, nil))
	f.Add(key, []byte("abc"))
	f.Add([]byte(nil), []byte(nil))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		body, err := unseal(key, value)
		if err == nil && !bytes.Equal(seal(key, body), value) {
			t.Errorf("%x under %x is taken for whole", value, key)
		}
		if again, err := unseal(key, seal(key, value)); err != nil || !bytes.Equal(again, value) {
			t.Errorf("what was sealed is %x, %v", again, err)
		}
		decodeState(value)
	})
}

// FuzzFile changes a few bytes of a small file at once: whatever it is then,
// the process goes on.
func FuzzFile(f *testing.F) {
	dir := memoryDir(f)
	s, err := Open(dir, Options{})
	if err != nil {
		f.Fatal(err)
	}
	fill(f, s, 200, []byte("a body of a message"))
	s.Close()
	file, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		f.Fatal(err)
	}
	used := min(len(file), 24*block)
	f.Add(uint32(0), []byte{1, 2, 3})
	f.Add(uint32(4*block+8), []byte{2, 0, 255, 255})
	f.Fuzz(func(t *testing.T, at uint32, change []byte) {
		dir := memoryDir(t)
		changed := bytes.Clone(file)
		copy(changed[int(at)%used:], change)
		if err := os.WriteFile(filepath.Join(dir, fileName), changed, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(dir, Options{})
		if err != nil {
			return
		}
		s.Each(func(uint64, []byte) error { return nil })
		s.Add([]uint64{s.LastKey() + 1}, [][]byte{nil}, nil)
		s.Close()
	})
}
