package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// put writes a config file into a folder of its own and returns its path.
func put(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func wantFile(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != content {
		t.Errorf("%s holds %q, want %q", filepath.Base(path), got, content)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != mode {
		t.Errorf("%s has mode %o, want %o", filepath.Base(path), info.Mode().Perm(), mode)
	}
}

// wantNames checks what stands in path's folder, in order of name.
func wantNames(t *testing.T, path string, prefixes ...string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = filepath.Join(filepath.Dir(path), e.Name())
		if i >= len(prefixes) || !strings.HasPrefix(e.Name(), prefixes[i]) {
			t.Fatalf("the folder holds %v, want %v", entries, prefixes)
		}
	}
	if len(entries) != len(prefixes) {
		t.Fatalf("the folder holds %v, want %v", entries, prefixes)
	}
	return names
}

func mustLoad(t *testing.T, path string, environ ...string) *loaded {
	t.Helper()
	l, err := load(path, environ, true)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func notesOf(l *loaded) string {
	var b strings.Builder
	for _, n := range l.notes {
		b.WriteString(n.level.String() + " " + n.text + "\n")
	}
	return b.String()
}

func TestFirstFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	env := []string{"PORT=4000", `RELAY_API_KEY=a<b&"c`, "RELAY_LOOPS=3"}
	mustLoad(t, path, env...)
	wantNames(t, path, "config.json")
	wantFile(t, path, `{
  "port": "4000",
  "api_key": "a<b&\"c",
  "ws_path": "/ws",
  "push_path": "/api/push"
}
`, 0o600)
	// The next start reads what this one wrote.
	l := mustLoad(t, path)
	if l.config.Port != 4000 || l.config.APIKey != `a<b&"c` || l.sources["port"] != fromFile {
		t.Errorf("read back %+v", l.config)
	}
	wantNames(t, path, "config.json")
}

func TestAnImpossibleEnvironmentWritesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	if _, err := load(path, []string{"PORT=x"}, true); err == nil {
		t.Fatal("no error")
	}
	wantNames(t, path)
}

func TestBrokenFiles(t *testing.T) {
	for _, tc := range []struct{ name, content, says string }{
		{"empty", "", "it is empty"},
		{"white space and a mark", "\xef\xbb\xbf \n", "it is empty"},
		{"cut off", "{\n\"api_key\": \"geheim\",\n", "not valid JSON in line 3"},
		{"wrong in line 2", "{\n\"api_key\": geheim\n}", "not valid JSON in line 2"},
		{"more than one value", `{} {}`, "not valid JSON in line 1"},
		{"an array", `["geheim"]`, "not a JSON object"},
		{"null", `null`, "not a JSON object"},
		{"a string", `"geheim"`, "not a JSON object"},
		{"not text", "\x00\x01\x00", "not valid JSON"},
		{"not UTF-8", "{\"ws_path\":\"/\xe9\"}", "not UTF-8"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := put(t, tc.content)
			l := mustLoad(t, path, "PORT=4001", "RELAY_API_KEY=k")
			if l.file != stateBroken || l.config.Port != 4001 {
				t.Errorf("state %v, port %d", l.file, l.config.Port)
			}
			names := wantNames(t, path, "config.json", "config.json.broken-")
			wantFile(t, names[1], tc.content, 0o600)
			if len(l.notes) != 1 || !strings.Contains(notesOf(l), tc.says) || !strings.Contains(notesOf(l), names[0]) || !strings.Contains(notesOf(l), names[1]) {
				t.Errorf("notes: %s", notesOf(l))
			}
			if strings.Contains(notesOf(l), "geheim") {
				t.Errorf("a note quotes the file: %s", notesOf(l))
			}
			if l := mustLoad(t, path); l.file == stateBroken || l.config.APIKey != "k" {
				t.Errorf("the fresh file gives %+v", l.config)
			}
		})
	}
}

// Two broken files of one second both stay.
func TestKeptFilesNeverReplaceEachOther(t *testing.T) {
	path := put(t, "first")
	mustLoad(t, path)
	kept := wantNames(t, path, "config.json", "config.json.broken-")[1]
	// Every name the next ones could take is taken.
	f := configFile{path: path}
	for _, content := range []string{"second", "third", "fourth"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := f.read(); err != nil {
			t.Fatal(err)
		}
		name, err := f.replace([]byte("{}\n"))
		if err != nil {
			t.Fatal(err)
		}
		wantFile(t, name, content, 0o600)
	}
	wantFile(t, kept, "first", 0o600)
	wantFile(t, path, "{}\n", 0o600)
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 5 {
		t.Errorf("the folder holds %v", entries)
	}
}

func TestMarkAtTheStartIsTolerated(t *testing.T) {
	path := put(t, "\xef\xbb\xbf{\"port\": 4002}")
	if l := mustLoad(t, path); l.file == stateBroken || l.config.Port != 4002 {
		t.Errorf("state %v, port %d", l.file, l.config.Port)
	}
	wantNames(t, path, "config.json")
}

func TestBrokenTargetOfALink(t *testing.T) {
	target := put(t, "{")
	link := filepath.Join(t.TempDir(), "config.json")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	mustLoad(t, link)
	wantNames(t, link, "config.json")
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v", err)
	}
	wantFile(t, wantNames(t, target, "config.json", "config.json.broken-")[1], "{", 0o600)
}

func TestFileThatAppearsMeanwhileIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	f := configFile{path: path}
	if err := f.read(); err != nil || f.state != stateMissing {
		t.Fatal(f.state, err)
	}
	if err := os.WriteFile(path, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.complete(Default()); !errors.Is(err, errAppeared) {
		t.Errorf("got %v", err)
	}
	wantNames(t, path, "config.json")
	wantFile(t, path, "other", 0o600)
}

// What cannot be written is no reason not to serve.
func TestUnwritablePlaces(t *testing.T) {
	dangling := filepath.Join(t.TempDir(), "config.json")
	if err := os.Symlink("/nowhere/at/all", dangling); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"/proc/config.json", // nobody may write there
		dangling,
	} {
		l, err := load(path, nil, true)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if n := notesOf(l); strings.Count(n, "cannot write") != 1 || !strings.Contains(n, path) {
			t.Errorf("notes: %s", n)
		}
	}
}

func TestDevicesAreNeverReplaced(t *testing.T) {
	l := mustLoad(t, "/dev/null")
	if info, err := os.Stat("/dev/null"); err != nil || info.Mode().IsRegular() {
		t.Fatal("/dev/null was replaced")
	}
	if !strings.Contains(notesOf(l), "/dev/null is not used: it is empty") {
		t.Errorf("notes: %s", notesOf(l))
	}
}

func TestUnreadableFiles(t *testing.T) {
	for _, tc := range []struct {
		name string
		path func(t *testing.T) string
		says string
	}{
		{"a directory", func(t *testing.T) string { return t.TempDir() }, "is a directory"},
		{"below a file", func(t *testing.T) string { return filepath.Join(put(t, "{}"), "config.json") }, "not a directory"},
		{"in no folder", func(t *testing.T) string { return filepath.Join(t.TempDir(), "missing", "config.json") }, "its folder does not exist"},
		{"too large", func(t *testing.T) string { return put(t, strings.Repeat(" ", maxConfigFile+1)) }, "larger than"},
		{"no permission", func(t *testing.T) string {
			path := put(t, "{}")
			if err := os.Chmod(path, 0); err != nil {
				t.Fatal(err)
			}
			if f, err := os.Open(path); err == nil {
				f.Close()
				t.Skip("root may read every file")
			}
			return path
		}, "permission denied"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := tc.path(t)
			_, err := load(path, nil, true)
			if err == nil || !strings.Contains(err.Error(), tc.says) || strings.Count(err.Error(), path) != 1 || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestCheckWritesNothing(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "config.json")
	if _, err := load(missing, nil, false); err != nil {
		t.Fatal(err)
	}
	wantNames(t, missing)
	broken := put(t, "{")
	if l, err := load(broken, nil, false); err != nil || l.file != stateBroken {
		t.Fatal(l, err)
	}
	wantNames(t, broken, "config.json")
	wantFile(t, broken, "{", 0o644)
}

// Opening a pipe waits for its writer: the start would hang without a word.
func TestNamedPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := load(path, nil, true); err == nil || !strings.Contains(err.Error(), "named pipe") {
		t.Errorf("error %v", err)
	}
}
