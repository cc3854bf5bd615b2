package main

import (
	"fmt"
	"runtime/debug"
)

// builtFrom is the commit where the toolchain finds none: an image is built
// without .git (see deploy/Dockerfile). Set with -ldflags "-X main.builtFrom=...".
var builtFrom = "unknown"

// versionLine is what -version prints, from what the toolchain put into the
// binary.
func versionLine() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "relay (built without version information)"
	}
	return describeBuild(info)
}

// describeBuild names the module's version, its commit where one is known,
// and the Go release.
func describeBuild(info *debug.BuildInfo) string {
	commit, dirty := builtFrom, ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && s.Value != "":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = " (dirty)"
		}
	}
	version := info.Main.Version
	if version == "" {
		version = "(devel)"
	}
	return fmt.Sprintf("%s %s, commit %s%s, %s", info.Main.Path, version, commit, dirty, info.GoVersion)
}
