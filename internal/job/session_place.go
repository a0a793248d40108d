package job

import (
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	usualWorkdir = "/work"
	tmpDir       = "/tmp"
	// maxWorkdir is the length of a path, and maxWorkdirNames the number of names in it.
	maxWorkdir      = 512
	maxWorkdirNames = 16
)

// workdirTops are the directories in which a session may have its working directory: PATHS in root.py.
func workdirTops() []string {
	return []string{"/app", "/code", "/data", "/home", "/project", "/repo", "/srv", "/testbed", "/workspace"}
}

// places checks the paths of a session's working directory and of HOME. Empty ones are the usual ones.
func places(v *validation, workdir, home string) (string, string) {
	if workdir == usualWorkdir {
		workdir = ""
	}
	if workdir != "" && isPlace(v, "workdir", workdir) {
		top := "/" + strings.SplitN(workdir, "/", 3)[1]
		if !slices.Contains(workdirTops(), top) {
			v.add("workdir", "must be /work, or one of %s, or a directory in one of these", strings.Join(workdirTops(), ", "))
		}
	}
	work := workdir
	if work == "" {
		work = usualWorkdir
	}
	if home == work {
		home = ""
	}
	if home != "" && isPlace(v, "home", home) && !isIn(home, work) && !isIn(home, tmpDir) {
		v.add("home", "must be the working directory (%s), or a directory in it or in /tmp", work)
	}
	return workdir, home
}

func isIn(name, dir string) bool { return strings.HasPrefix(name, dir+"/") }

// isPlace reports whether a path has the form of one.
func isPlace(v *validation, field, name string) bool {
	odd := func(r rune) bool { return !unicode.IsPrint(r) }
	switch {
	case !path.IsAbs(name) || path.Clean(name) != name || name == "/":
		v.add(field, "must be an absolute path without empty names, . and .., as /home/user")
	case len(name) > maxWorkdir || strings.Count(name, "/") > maxWorkdirNames || slices.ContainsFunc(strings.Split(name, "/"), func(s string) bool { return len(s) > maxName }):
		v.add(field, "is too long; the limit is %d bytes, %d names, and %d bytes for a name", maxWorkdir, maxWorkdirNames, maxName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, odd):
		v.add(field, "has characters that cannot be printed; leave them out")
	default:
		return true
	}
	return false
}

// HasPaths reports whether a session wants paths of its own.
func (s SessionSpec) HasPaths() bool { return s.Workdir != "" || s.Home != "" }

// Placeable are those of the runners that can give a session paths of its own, a network, and keep its files; all of them if it wants none of these.
func (s SessionSpec) Placeable(runners []Runner) []Runner {
	if !s.HasPaths() && s.Volume == "" && s.Network == nil {
		return runners
	}
	return slices.DeleteFunc(slices.Clone(runners), func(r Runner) bool {
		return s.HasPaths() && r.Sandbox != sandboxStrict || s.Volume != "" && !r.Volumes || s.Network != nil && !r.Egress
	})
}

// sandboxStrict is the level whose sandboxes have a mount namespace.
const sandboxStrict = "strict"
