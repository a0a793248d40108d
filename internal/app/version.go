package app

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// The linker may set these variables, with -X. Images need it: they are built without the
// repository and with -buildvcs=false, so Go does not note the commit.
var version, commit, date string //nolint:gochecknoglobals // -X sets nothing else

// unreleased is the version of a binary that was not built from a tag.
const unreleased = "0.1.0-dev"

// Build describes the source of a binary. Date is the commit's. Commit and Date are empty if they
// are not known.
type Build struct {
	Version, Commit, Date, Go string
}

// ThisBuild returns the build of this binary, from the linker's variables or else from Go's build
// information.
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
	// A pseudo-version, v0.0.0-…, names a commit and is no version.
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

// Version returns the version of the binary.
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
