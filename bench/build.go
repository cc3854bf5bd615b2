package main

import (
	"context"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// build is what a program was made of.
type build struct {
	Commit string `json:"commit"` // of the bench
	Dirty  bool   `json:"dirty"`  // with changes that are in no commit
	Go     string `json:"go"`
}

// String is the commit as people read it.
func (b build) String() string {
	if b.Dirty {
		return b.Commit + " (dirty)"
	}
	return b.Commit
}

const (
	unknownCommit = "unknown"
	shownCommit   = 12 // digits

	// versionWithin is how long a program may take to say what it is. One that
	// knows no -version may start to serve instead.
	versionWithin = 3 * time.Second
	// maxVersion bounds that line, in bytes.
	maxVersion = 200
)

// ownBuild is that of this program: the stamp in it, which holds wherever it
// runs, or else, as "go run" puts none in, the repository it runs in.
func ownBuild() build {
	b := build{Commit: unknownCommit, Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		b.stamp(info.Settings)
	}
	if b.Commit != unknownCommit {
		return b
	}
	if out, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*").Output(); err == nil {
		b.Commit, b.Dirty = strings.CutSuffix(strings.TrimSpace(string(out)), "-dirty")
	}
	return b
}

// stamp takes what the toolchain has put into a program.
func (b *build) stamp(settings []debug.BuildSetting) {
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision" && s.Value != "":
			b.Commit = s.Value[:min(len(s.Value), shownCommit)]
		case s.Key == "vcs.modified":
			b.Dirty = s.Value == "true"
		}
	}
}

// relayVersion is the first line that the program under test answers -version
// with; empty if it has no answer.
func (b *bench) relayVersion() string {
	ctx, cancel := context.WithTimeout(context.Background(), versionWithin)
	defer cancel()
	ask := exec.CommandContext(ctx, b.relay, "-version")
	ask.Dir, ask.WaitDelay = b.dir, versionWithin
	out, err := ask.Output()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line[:min(len(line), maxVersion)]
}
