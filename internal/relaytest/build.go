// Package relaytest runs the project's programs as processes for black-box
// tests: it builds them, starts them in a folder of their own, talks to them
// over sockets, and judges how they ended and what they logged.
package relaytest

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"sync"
	"testing"
)

// binaries holds the programs that this test process has built: each one once.
var binaries struct {
	mu    sync.Mutex
	dir   string
	built map[string]string // import path to file
}

// Main runs the tests of a package and removes what was built for them. Use it
// in TestMain: os.Exit(relaytest.Main(m)).
func Main(m *testing.M) int {
	defer func() {
		binaries.mu.Lock()
		defer binaries.mu.Unlock()
		if binaries.dir != "" {
			os.RemoveAll(binaries.dir)
		}
	}()
	return m.Run()
}

// Build compiles the program with this import path, once for each test
// process, and returns its file. It is built with -race if the test is.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	file, err := build(pkg)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func build(pkg string) (string, error) {
	binaries.mu.Lock()
	defer binaries.mu.Unlock()
	if file, ok := binaries.built[pkg]; ok {
		return file, nil
	}
	if binaries.dir == "" {
		dir, err := os.MkdirTemp("", "relaytest")
		if err != nil {
			return "", err
		}
		binaries.dir, binaries.built = dir, make(map[string]string)
	}
	file := filepath.Join(binaries.dir, path.Base(pkg))
	args := []string{"build", "-o", file}
	if Race {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, pkg)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	binaries.built[pkg] = file
	return file, nil
}
