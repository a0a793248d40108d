package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/kaa-run/kaa/internal/job"
)

// defaultRuntime is the name of the runtime that KAA_PYTHON and KAA_PRELOAD
// describe, when KAA_RUNTIMES is not set.
const defaultRuntime = "python"

// RuntimeConfig is an interpreter with the modules that it has loaded before code begins.
type RuntimeConfig struct {
	Name    string
	Python  string   // a path, or a name on the PATH
	Preload []string // names of modules
}

// Runtimes are the interpreters of a runner; the first is the default one.
type Runtimes []RuntimeConfig

// moduleName is what can stand after import. Names go into the zygote's start,
// so they are checked here and not left to Python.
var moduleName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`)

// UnmarshalText reads "name=python:module,module;name=python".
func (r *Runtimes) UnmarshalText(text []byte) error {
	*r = nil
	var problems []error
	for item := range strings.SplitSeq(strings.TrimSuffix(strings.TrimSpace(string(text)), ";"), ";") {
		rt, err := parseRuntime(item)
		if err == nil && slices.ContainsFunc(*r, func(other RuntimeConfig) bool { return other.Name == rt.Name }) {
			err = fmt.Errorf("runtime %q is named twice", rt.Name)
		}
		if err != nil {
			problems = append(problems, err)
			continue
		}
		*r = append(*r, rt)
	}
	return errors.Join(problems...)
}

func parseRuntime(item string) (RuntimeConfig, error) {
	name, rest, ok := strings.Cut(strings.TrimSpace(item), "=")
	python, modules, preloads := strings.Cut(rest, ":")
	rt := RuntimeConfig{Name: strings.TrimSpace(name), Python: strings.TrimSpace(python)}
	if !ok || rt.Python == "" {
		return rt, fmt.Errorf("%q is not a runtime; write name=python or name=python:module,module", item)
	}
	if !job.ValidRuntimeName(rt.Name) {
		return rt, fmt.Errorf("%q is not the name of a runtime; use up to 64 lower-case letters, digits, dots, underscores and dashes", rt.Name)
	}
	if preloads {
		var err error
		if rt.Preload, err = parseModules(strings.Split(modules, ",")); err != nil {
			return rt, fmt.Errorf("runtime %q: %w", rt.Name, err)
		}
	}
	return rt, nil
}

func parseModules(names []string) ([]string, error) {
	var modules []string
	for _, name := range names {
		name = strings.TrimSpace(name)
		if !moduleName.MatchString(name) {
			return nil, fmt.Errorf("%q is not the name of a module", name)
		}
		modules = append(modules, name)
	}
	return modules, nil
}

// resolveRuntimes makes the one runtime of KAA_PYTHON and KAA_PRELOAD if
// KAA_RUNTIMES names none.
func (c *Config) resolveRuntimes() error {
	if len(c.Runtimes) > 0 {
		return nil
	}
	modules, err := parseModules(c.Preload)
	if err != nil {
		return fmt.Errorf("KAA_PRELOAD: %w", err)
	}
	c.Runtimes = Runtimes{{Name: defaultRuntime, Python: c.Python, Preload: modules}}
	return nil
}
