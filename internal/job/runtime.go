package job

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Runtime is an interpreter that a runner offers by a name.
type Runtime struct {
	Name    string   `json:"name" doc:"Name to ask for it by."`
	Version string   `json:"version" doc:"Version of its Python interpreter."`
	Modules []string `json:"modules" nullable:"false" doc:"Modules that are loaded before the code begins. Others that are installed can be imported too."`
	Default bool     `json:"default" doc:"It serves the requests that name no runtime."`
	Sick    string   `json:"sick,omitempty" doc:"Why no interpreter of it can be started now. Absent if one can."`
}

// runtimeName is the form of a runtime's name. Names travel in tasks and messages, so they have
// no characters that would have to be escaped.
var runtimeName = regexp.MustCompile(`^[a-z0-9._-]{1,64}$`)

// ValidRuntimeName reports whether a runtime may have this name.
func ValidRuntimeName(name string) bool { return runtimeName.MatchString(name) }

// Runtimes returns the runtimes of the runners, by name. If runners offer different ones under
// the same name, the one of the latest start counts, because it has the operator's latest
// configuration.
func Runtimes(runners []Runner) []Runtime {
	byName := make(map[string]Runtime)
	for _, r := range slices.SortedStableFunc(slices.Values(runners), func(a, b Runner) int { return a.StartedAt.Compare(b.StartedAt) }) {
		for _, rt := range r.Runtimes {
			rt.Modules = append([]string{}, rt.Modules...) // never nil
			if other, ok := byName[rt.Name]; ok && other.Sick == "" {
				rt.Sick = ""
			}
			byName[rt.Name] = rt
		}
	}
	return slices.SortedFunc(maps.Values(byName), func(a, b Runtime) int { return strings.Compare(a.Name, b.Name) })
}

// runtime checks the name of a runtime; empty is the default one.
func (l Limits) runtime(v *validation, name string) string {
	switch {
	case name == "":
	case len(l.Runtimes) > 0:
		if !slices.Contains(l.Runtimes, name) {
			v.add("runtime", "%s is not a runtime; use one of %s", quote(name), strings.Join(l.Runtimes, ", "))
		}
	case !ValidRuntimeName(name):
		v.add("runtime", "%s is not the name of a runtime; use up to 64 lower-case letters, digits, dots, underscores and dashes", quote(name))
	}
	return name
}
