package app

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// What the linker may set, with -X: images are built without the repository, and -buildvcs=false
// keeps Go from looking at it.
var version, commit, date string //nolint:gochecknoglobals // -X sets nothing else

// unreleased is the version of what was built from no tag.
const unreleased = "0.1.0-dev"

// Build says what a binary was built from. Commit and Date, which is the commit's, are empty
// if nobody said so.
type Build struct {
	Version, Commit, Date, Go string
}

// ThisBuild returns the build of this binary: what the linker was told, else what Go has noted.
func ThisBuild() Build {
	b := Build{Version: version, Commit: commit, Date: date, Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		b.complete(info)
	}
	if b.Version == "" {
		b.Version = unreleased
		if b.Commit != "" {
			b.Version += "+" + b.Commit[:min(len(b.Commit), 12)]
		}
	}
	return b
}

func (b *Build) complete(info *debug.BuildInfo) {
	// A pseudo-version, v0.0.0-…, is a commit and no version.
	if v := info.Main.Version; b.Version == "" && v != "(devel)" && !strings.HasPrefix(v, "v0.0.0-") {
		b.Version = v
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && b.Commit == "":
			b.Commit = s.Value
		case s.Key == "vcs.time" && b.Date == "":
			b.Date = s.Value
		}
	}
}

// Version is what the binary says it is.
func Version() string { return ThisBuild().Version }

// Describe returns a line about the binary of that name.
func (b Build) Describe(name string) string {
	var known []string
	for _, part := range [][2]string{{"commit ", b.Commit}, {"", b.Date}, {"", b.Go}} {
		if part[1] != "" {
			known = append(known, part[0]+part[1])
		}
	}
	return fmt.Sprintf("%s %s (%s)", name, b.Version, strings.Join(known, ", "))
}
