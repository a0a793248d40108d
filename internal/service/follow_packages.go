package service

import (
	"context"

	"github.com/kaa-run/kaa/internal/job"
)

// packagesLook is what a follower knows of the packages that its job waits for.
type packagesLook struct {
	over  bool     // the code has begun, or there are no packages to wait for
	asked bool     // sets are known
	sets  []string // those that may be installed for the job, as runtimes with a set of packages
	state job.State
	seen  job.Installation // the last one that was reported
}

// lookAtPackages reports how far the installation is for which the job waits, if that has changed. The report is an event without
// an id, because it is of now: no reader resumes after it, and none that comes later needs it.
func (f *Follower) lookAtPackages(ctx context.Context) {
	if f.waits.over || !f.s.cfg.Limits.Packages.Allowed {
		return
	}
	if !f.waits.asked {
		sets, state, err := f.s.setsOf(ctx, f.id)
		if err != nil {
			return // with the next look
		}
		f.waits.asked, f.waits.sets, f.waits.state, f.waits.over = true, sets, state, len(sets) == 0
	}
	for _, set := range f.waits.sets {
		f.looks.Soon() // the progress is not announced
		now, err := f.s.cfg.Packages.Installing(ctx, set)
		if err != nil || now == nil {
			continue // it is said elsewhere that Redis does not answer
		}
		if *now != f.waits.seen {
			f.waits.seen = *now
			f.ready = append(f.ready, job.NewEvent(job.EventStatus, job.InstallationData{
				Type: job.EventStatus, State: f.waits.state, WaitsFor: job.WaitPackages, Installation: *now,
			}))
		}
		return
	}
}

// setsOf returns the sets of packages that may be installed for a job, and the state that it has meanwhile. An execution of a
// session is claimed before: the session may have packages of its own, and the code lines that install some.
func (s *Service) setsOf(ctx context.Context, id string) (sets []string, state job.State, err error) {
	j, err := s.cfg.Lookup.Summary(ctx, id)
	if err != nil {
		return nil, "", err
	}
	if !j.InSession {
		if j.PackageSet() != "" {
			sets = []string{job.WithoutPreload(j.Runtime)}
		}
		return sets, job.Queued, nil
	}
	of, err := s.cfg.Packages.SessionRuntime(ctx, j.SessionID)
	if err != nil {
		return nil, "", err
	}
	runtime, own := job.SplitPackages(of)
	if own != "" {
		sets = append(sets, job.WithoutPreload(of))
	}
	n, err := s.cfg.Lookup.Request(ctx, j)
	if err == nil && len(n.Spec.Packages) > 0 {
		sets = append(sets, job.WithPackages(runtime, n.Spec.Packages))
	}
	return sets, job.Running, nil
}
