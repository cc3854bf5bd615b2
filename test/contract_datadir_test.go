package test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gorelay/internal/relaytest"
)

// filesBut lists what lies in a folder and below, without one name.
func filesBut(t *testing.T, dir, name string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && path != dir && d.Name() != name {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestDataDir: by default the folder is beside the config file, and nobody
// else may look into it.
func TestDataDir(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "conf"), 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "conf", "config.json")
	if err := os.WriteFile(file, []byte(`{"port":"0","api_key":"`+relaytest.Key+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	r := relaytest.StartRelay(t, relaytest.Setup{Dir: dir, NoFile: true, Args: []string{"-config", file}})
	pushed(t, r.Publisher(t), body("e", inSeconds(anHour)))
	data := filepath.Join(dir, "conf", "data")
	info, err := os.Stat(data)
	if err != nil || !info.IsDir() || info.Mode().Perm() != 0o700 {
		t.Fatalf("%s: %v %v, want a folder with mode 0700", data, info, err)
	}
	files := filesBut(t, data, "")
	if len(files) == 0 {
		t.Errorf("nothing is in %s", data)
	}
	for _, name := range files {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v %v, want no rights for others", name, info.Mode(), err)
		}
	}
	if files := filesBut(t, dir, "conf"); slices.ContainsFunc(files, func(f string) bool { return !strings.HasPrefix(f, filepath.Join(dir, "conf")) }) {
		t.Errorf("it wrote %v", files)
	}
}

// TestDataDirRefused: a folder that cannot serve stops the start with one
// line, and is left as it was.
func TestDataDirRefused(t *testing.T) {
	t.Parallel()
	first := relaytest.StartRelay(t, relaytest.Setup{})
	p := first.Publisher(t)
	pushed(t, p, body("e", inSeconds(anHour)))
	data := filepath.Join(first.Dir, "data")
	refuses := func(t *testing.T, dir string, words ...string) {
		t.Helper()
		code, log := relaytest.RunRelay(t, relaytest.Setup{Config: relaytest.Config{"data_dir": dir}})
		if code != 1 {
			t.Errorf("exit code %d, want 1", code)
		}
		found := 0
		for line := range strings.Lines(log) {
			if strings.Contains(line, "data_dir") {
				found++
				for _, word := range append(words, dir) {
					if !strings.Contains(line, word) {
						t.Errorf("%q does not say %q", line, word)
					}
				}
			}
		}
		if found != 1 || strings.Contains(log, "listening") {
			t.Errorf("%d lines name data_dir, want 1:\n%s", found, log)
		}
	}
	t.Run("in use", func(t *testing.T) {
		refuses(t, data, "in use")
		wantData(t, call(t, p, "GET", relaytest.PushPath+"?limit=1", "")) // the first goes on
		pushed(t, p, body("e", inSeconds(anHour)))
	})
	t.Run("file", func(t *testing.T) {
		refuses(t, filepath.Join(first.Dir, "config.json"))
	})
	first.Kill()
	for name, spoil := range map[string]func([]byte) []byte{
		"cut off":   func(b []byte) []byte { return b[:10_000] }, // behind its heads, within its data
		"a head":    func(b []byte) []byte { return b[:5_000] },
		"scribbled": func(b []byte) []byte { return append([]byte(repeat("scribble ", 2000)), b[min(len(b), 18000):]...) },
		"other":     func([]byte) []byte { return []byte("this is a letter to my aunt, and no pushes are in it\n") },
	} {
		t.Run(name, func(t *testing.T) {
			copied := filepath.Join(t.TempDir(), "data")
			if err := os.CopyFS(copied, os.DirFS(data)); err != nil {
				t.Fatal(err)
			}
			spoilt := map[string]string{}
			for _, file := range filesBut(t, copied, "") {
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if len(b) == 0 {
					continue // a lock
				}
				spoilt[file] = string(spoil(b))
				if err := os.WriteFile(file, []byte(spoilt[file]), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if len(spoilt) == 0 {
				t.Fatal("there is no file to spoil")
			}
			refuses(t, copied)
			for file, want := range spoilt {
				if got, err := os.ReadFile(file); err != nil || string(got) != want {
					t.Errorf("%s was touched: %v", file, err)
				}
			}
		})
	}
}
