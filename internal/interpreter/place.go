package interpreter

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// errNoPlace: without a mount namespace a directory has one path only.
var errNoPlace = errors.New("paths of a session's own need the sandbox level strict")

// settle gives the working directory and HOME the paths that the session has chosen.
func (s *Session) settle(spec job.SessionSpec) error {
	if spec.Workdir == "" && spec.Home == "" {
		return nil
	}
	if s.w.pool.cfg.Sandbox != sandbox.Strict {
		return errNoPlace
	}
	if spec.Workdir != "" {
		if _, err := s.w.askSlot("L " + spec.Workdir); err != nil {
			return fmt.Errorf("mount the working directory: %w", err)
		}
	}
	s.w.place = spec.Workdir
	if s.w.place == "" {
		s.w.place = s.home()
	}
	home := spec.Home
	if home == "" {
		home = s.w.place
	}
	envs := map[string]string{"HOME": home}
	maps.Copy(envs, s.envs) // those of the request hold
	s.envs = envs
	return nil
}

// envsOfFork returns the variables of a fork, whose working directory has a path of its own.
func (s *Session) envsOfFork() map[string]string {
	if s.w.place == "" || s.envs["HOME"] != s.w.place && !strings.HasPrefix(s.envs["HOME"], s.w.place+"/") {
		return s.envs
	}
	envs := maps.Clone(s.envs)
	delete(envs, "HOME")
	return envs
}
