package store

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

const block = 4096 // what a disk loses or mixes up, at the least

// specimen returns the bytes of a file with all kinds of records in it, and
// the messages. It was closed, so its last two commits hold the same.
func specimen(t *testing.T) (file []byte, want map[uint64]string) {
	t.Helper()
	dir := memoryDir(t)
	s := openIn(t, dir, Options{})
	want = map[uint64]string{}
	for i := range uint64(600) {
		key := s.LastKey() + 1
		body := bodyOf(key)
		if i%40 == 0 {
			body = strings.Repeat("long ", 3000)
		}
		if err := s.Add([]uint64{key}, [][]byte{[]byte(body)}, receipt(now().Add(time.Hour), "receipt")); err != nil {
			t.Fatal(err)
		}
		want[key] = body
		switch i % 10 {
		case 0:
			if err := s.Cancel(key); err != nil {
				t.Fatal(err)
			}
			delete(want, key)
		case 1:
			s.Remove([]uint64{key})
			delete(want, key)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	return file, want
}

// endure opens a store on the file, and demands one of two things: that it is
// refused as damaged, and left as it is; or that each message is either
// served as it was, or counted as damaged. Then it is written to: that may
// fail, but must end. It reports whether the file was opened.
func endure(t *testing.T, name string, file []byte, want map[uint64]string) (opened bool) {
	t.Helper()
	dir := memoryDir(t)
	path := filepath.Join(dir, fileName)
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, Options{CompactAbove: 1 << 40})
	if err != nil {
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "move the folder away") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the error is %v", name, err)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(after, file) {
			t.Errorf("%s: the file was changed", name)
		}
		return false
	}
	defer s.Close()
	served := 0
	var keys []uint64
	err = s.Each(func(key uint64, body []byte) error {
		if want[key] != string(body) {
			t.Errorf("%s: key %d has another body", name, key)
		}
		keys = append(keys, key)
		served++
		return nil
	})
	if damaged := s.Stats().Damaged; err != nil || served+int(damaged) < len(want) {
		t.Errorf("%s: of %d messages %d are served, %d known as damaged, error %v", name, len(want), served, damaged, err)
	}
	s.Receipts(func([]byte) error { return nil })
	s.Load(append(keys, 1, s.LastKey()), func(uint64, []byte, error) {})
	key := s.LastKey() + 1
	if err := s.Add([]uint64{key}, [][]byte{[]byte("new")}, receipt(now().Add(-time.Hour), "old")); err == nil {
		s.Load([]uint64{key}, func(_ uint64, body []byte, err error) {
			if err != nil || string(body) != "new" {
				t.Errorf("%s: what was added is %q, %v", name, body, err)
			}
		})
	}
	s.Remove(keys)
	s.Cancel(key)
	return true
}

func TestUndamagedSpecimen(t *testing.T) {
	file, want := specimen(t)
	if !endure(t, "as it is", file, want) {
		t.Error("it was refused")
	}
}

func TestTruncatedAnywhere(t *testing.T) {
	file, want := specimen(t)
	opened := 0
	for size := 0; size < len(file); size += block {
		if endure(t, fmt.Sprint("cut to ", size), file[:size], want) {
			opened++
		}
	}
	endure(t, "cut within a block", file[:len(file)/3+17], want)
	if opened == 0 {
		t.Error("what was allocated in advance may be cut off, and is missed")
	}
}

func TestScribbled(t *testing.T) {
	file, want := specimen(t)
	used := len(bytes.TrimRight(file, "\x00"))/block + 1
	opened := 0
	for seed := range uint64(400) {
		random := rand.New(rand.NewPCG(seed, 2))
		f := bytes.Clone(file)
		page := func() []byte {
			at := random.IntN(used) * block
			return f[at : at+block]
		}
		kind := []string{"noise", "zeros", "another page", "a flipped bit", "a field"}[seed%5]
		// The head is one page in hundreds: it gets its share.
		p := page()
		if seed%7 == 0 {
			p = f[seed%2*block:][:block]
		}
		switch kind {
		case "noise":
			for i := range p {
				p[i] = byte(random.Uint32())
			}
		case "zeros":
			clear(p)
		case "another page":
			copy(p, page())
		case "a flipped bit":
			for range 4 {
				page()[random.IntN(block)] ^= 1 << random.IntN(8)
			}
		case "a field": // in the head of a page, or in its first elements
			for range 4 {
				page()[random.IntN(96)] = byte(random.Uint32())
			}
		}
		if endure(t, fmt.Sprintf("%s, seed %d", kind, seed), f, want) {
			opened++
		}
	}
	t.Logf("%d of 400 were opened", opened)
	if opened == 0 || opened == 400 {
		t.Error("the damage is always fatal or never there")
	}
}

// TestDamagedBodies damages bodies only: everything else is served.
func TestDamagedBodies(t *testing.T) {
	dir := memoryDir(t)
	s := openIn(t, dir, Options{})
	keys := fill(t, s, 100, []byte("a body with secret words in it"))
	s.Close()
	path := filepath.Join(dir, fileName)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// All copies of two messages, in pages that are in use or not.
	for _, k := range []uint64{keys[10], keys[20]} {
		record := append(number(k), seal(number(k), []byte("a body with secret words in it"))...)
		broken := append(record[:len(record)-1:len(record)-1], '!')
		if !bytes.Contains(file, record) {
			t.Fatal("the record is not in the file")
		}
		file = bytes.ReplaceAll(file, record, broken)
	}
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s = openIn(t, dir, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if n := len(contents(t, s)); n != 98 || s.Stats().Damaged != 2 {
		t.Errorf("%d messages are served, %d are damaged", n, s.Stats().Damaged)
	}
	text := log.String()
	if strings.Count(text, "\n") != 1 || !strings.Contains(text, "count=2") ||
		!strings.Contains(text, fmt.Sprint(keys[10], " ", keys[20])) || strings.Contains(text, "secret") {
		t.Errorf("the log says %q", text)
	}
	var failed []uint64
	s.Load(keys, func(key uint64, body []byte, err error) {
		if err != nil {
			failed = append(failed, key)
			if body != nil || !errors.Is(err, ErrCorrupt) {
				t.Errorf("key %d: body %q, error %v", key, body, err)
			}
		}
	})
	if len(failed) != 2 || failed[0] != keys[10] || failed[1] != keys[20] {
		t.Errorf("Load finds %v damaged", failed)
	}
	// They can be taken out as any other.
	s.Remove(failed)
	waitFor(t, func() bool { return s.Stats().Pending == 98 })
}

func TestFilesOfOthers(t *testing.T) {
	another := func(t *testing.T, fill func(tx *bbolt.Tx) error) []byte {
		path := filepath.Join(t.TempDir(), "db")
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Update(fill), db.Close()); err != nil {
			t.Fatal(err)
		}
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	version := func(v uint64) func(tx *bbolt.Tx) error {
		return func(tx *bbolt.Tx) error {
			meta, err := tx.CreateBucket(metaBucket)
			return errors.Join(err, meta.Put(versionKey, seal(versionKey, number(v))))
		}
	}
	for _, c := range []struct {
		name string
		file []byte
		want error
	}{
		{"an empty file", nil, ErrDamaged},
		{"a text", []byte(strings.Repeat("not a database\n", 1000)), ErrDamaged},
		{"a database without buckets", another(t, func(*bbolt.Tx) error { return nil }), ErrDamaged},
		{"a database of another program", another(t, func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket([]byte("theirs"))
			return err
		}), ErrDamaged},
		{"the right version and nothing else", another(t, version(fileVersion)), ErrDamaged},
		{"a newer version", another(t, version(fileVersion+1)), ErrNewer},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := memoryDir(t)
			path := filepath.Join(dir, fileName)
			if err := os.WriteFile(path, c.file, 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the first leaves nothing locked
				_, err := Open(dir, Options{})
				if !errors.Is(err, c.want) || !strings.Contains(err.Error(), moveAdvice) {
					t.Errorf("Open: %v", err)
				}
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(after, c.file) {
				t.Error("the file was changed")
			}
		})
	}
}
