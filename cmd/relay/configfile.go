package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"
	"unicode/utf8"
)

// fileState is what was found at the config file's path.
type fileState uint8

const (
	stateFine fileState = iota
	stateMissing
	stateBroken
)

// configFile is the config file on its way from the disk to values, and back
// when there was nothing usable. It never destroys what a user wrote.
type configFile struct {
	path    string
	state   fileState
	regular bool // false for /dev/null, a pipe and the like: never replaced
	bytes   []byte
	values  map[string]json.RawMessage // by key; empty unless stateFine
	flaw    string                     // what is wrong with a broken file
}

const (
	// maxConfigFile is far above any real one, in bytes.
	maxConfigFile = 1 << 20
	secretMode    = 0o600 // the file holds the API key
)

var (
	errAppeared = errors.New("another program has just written it")
	byteOrder   = []byte("\xef\xbb\xbf") // UTF-8 mark that some editors put first
)

// read looks at the path. A missing and a broken file are states; an error is
// a file that is there and cannot be read, or that has no folder to be in: a
// mistyped path must not become a relay with defaults.
func (f *configFile) read() error {
	*f = configFile{path: f.path}
	if info, err := os.Stat(f.path); err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
		return fmt.Errorf("cannot read %s: it is a named pipe", f.path) // opening it would wait for a writer
	}
	file, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		f.state = stateMissing
		if _, err := os.Stat(filepath.Dir(f.path)); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot read %s: its folder does not exist", f.path)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", f.path, reason(err))
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", f.path, reason(err))
	}
	if info.IsDir() {
		return fmt.Errorf("cannot read %s: it is a directory", f.path)
	}
	f.regular = info.Mode().IsRegular()
	f.bytes, err = io.ReadAll(io.LimitReader(file, maxConfigFile+1))
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", f.path, reason(err))
	}
	if len(f.bytes) > maxConfigFile {
		return fmt.Errorf("cannot read %s: it is larger than %d bytes", f.path, maxConfigFile)
	}
	f.parse()
	return nil
}

// parse fills values, or flaw where the bytes are not one JSON object.
func (f *configFile) parse() {
	text := bytes.TrimPrefix(f.bytes, byteOrder)
	err := json.Unmarshal(text, &f.values)
	var syntax *json.SyntaxError
	switch {
	case !utf8.Valid(text): // encoding/json would put something else in its place
		f.flaw = "it is not UTF-8"
	case err == nil && f.values != nil:
		return
	case len(bytes.TrimSpace(text)) == 0:
		f.flaw = "it is empty"
	case errors.As(err, &syntax):
		// The error's own text may quote the file, which holds the key.
		f.flaw = fmt.Sprintf("it is not valid JSON in line %d", 1+bytes.Count(text[:min(int(syntax.Offset), len(text))], []byte("\n")))
	default:
		f.flaw = "it is not a JSON object"
	}
	f.state, f.values = stateBroken, nil
}

// describe says what -check found, which writes nothing.
func (f *configFile) describe() []note {
	switch f.state {
	case stateMissing:
		return []note{{slog.LevelInfo, fmt.Sprintf("there is no %s; a start writes one", f.path)}}
	case stateBroken:
		return []note{{slog.LevelError, fmt.Sprintf("%s cannot be used: %s", f.path, f.flaw)}}
	}
	return nil
}

// complete leaves a valid file with the basic settings of c where there was
// none. A broken one is kept beside it first. errAppeared means that the file
// was missing and is there now.
func (f *configFile) complete(c Config) ([]note, error) {
	switch {
	case f.state == stateMissing:
		if err := f.create(basicJSON(c)); err != nil {
			return nil, err
		}
		return []note{{slog.LevelInfo, fmt.Sprintf("wrote %s", f.path)}}, nil
	case f.state == stateBroken && !f.regular:
		return []note{{slog.LevelWarn, fmt.Sprintf("%s is not used: %s", f.path, f.flaw)}}, nil
	case f.state == stateBroken:
		kept, err := f.replace(basicJSON(c))
		if err != nil {
			return []note{{slog.LevelWarn, fmt.Sprintf("%s is not used: %s", f.path, f.flaw)}}, err
		}
		return []note{{slog.LevelWarn, fmt.Sprintf("%s was not used: %s; it is kept as %s, and a fresh one is in its place", f.path, f.flaw, kept)}}, nil
	}
	return nil, nil
}

// create writes the file, complete or not at all, only if nothing is there.
func (f *configFile) create(content []byte) error {
	temp, err := writeTemp(filepath.Dir(f.path), content)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	err = os.Link(temp, f.path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		// Not every file system has hard links.
		err = writeNew(f.path, content)
	}
	if errors.Is(err, fs.ErrExist) {
		return errAppeared
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(f.path))
}

// replace keeps the broken bytes under a name of their own, then puts content
// in their place in one step. It returns that name.
func (f *configFile) replace(content []byte) (kept string, err error) {
	// A symbolic link stays one: its target is what is broken.
	path, err := filepath.EvalSymlinks(f.path)
	if err != nil {
		return "", err
	}
	temp, err := writeTemp(filepath.Dir(path), content)
	if err != nil {
		return "", err
	}
	defer os.Remove(temp) // a no-op once it is renamed
	stamp := path + ".broken-" + time.Now().UTC().Format("20060102T150405Z")
	kept = stamp
	for n := 2; ; n++ {
		err = writeNew(kept, f.bytes)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
		kept = fmt.Sprintf("%s-%d", stamp, n)
	}
	if err != nil {
		return "", err
	}
	if err := os.Rename(temp, path); err != nil {
		os.Remove(kept) // the bytes still stand where they were
		return "", err
	}
	return kept, syncDir(filepath.Dir(path))
}

// basicJSON is a fresh config file: the basic settings and nothing else.
func basicJSON(c Config) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // a key is to be read as it is sent
	b.WriteString("{")
	sep := "\n"
	for _, s := range settings() {
		if !s.basic {
			continue
		}
		fmt.Fprintf(&b, "%s  %q: ", sep, s.key)
		if err := e.Encode(s.text(&c)); err != nil {
			panic(err) // a string always encodes
		}
		b.Truncate(b.Len() - 1) // Encode's newline
		sep = ",\n"
	}
	b.WriteString("\n}\n")
	return b.Bytes()
}

// writeTemp writes content into a new file of dir that only its owner reads,
// down to the disk, and returns its path.
func writeTemp(dir string, content []byte) (string, error) {
	t, err := os.CreateTemp(dir, ".config-*.tmp") // mode 0600
	if err != nil {
		return "", err
	}
	if err := finish(t, content); err != nil {
		os.Remove(t.Name())
		return "", err
	}
	return t.Name(), nil
}

// writeNew writes content to path, which must not exist.
func writeNew(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, secretMode)
	if err != nil {
		return err
	}
	if err := finish(f, content); err != nil {
		os.Remove(path)
		return err
	}
	return nil
}

func finish(f *os.File, content []byte) error {
	_, err := f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDir makes a new name in dir survive a crash, where the file system can.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return nil // a folder may be writable and not readable
	}
	defer d.Close()
	_ = d.Sync() // some file systems refuse; the file itself is on disk
	return nil
}

// reason is err without the path that the message around it names.
func reason(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	}
	return err
}
