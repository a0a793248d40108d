package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// An environment is a set of packages that a caller has had prepared. A job that does nothing prepares it, so it has the bounds,
// the share and the owner of a job.

// EnvironmentState is the state of an environment.
type EnvironmentState string

// The states of environments.
const (
	EnvironmentQueued   EnvironmentState = "queued"   // its job waits for a runner
	EnvironmentBuilding EnvironmentState = "building" // a runner installs the packages
	EnvironmentReady    EnvironmentState = "ready"
	EnvironmentFailed   EnvironmentState = "failed"  // the packages cannot be had, or the job was cancelled
	EnvironmentExpired  EnvironmentState = "expired" // the packages are installed anew when they are used
)

// EnvironmentInfo is an environment as it is now.
type EnvironmentInfo struct {
	job.Environment
	State EnvironmentState
	// Failure is why it failed.
	Failure *job.Failure
	// ReadyAt is when its job has ended with the packages.
	ReadyAt time.Time
	// Installation is how far a runner is that installs the packages; nil if none does.
	Installation *job.Installation
	// Build has zero values until there are the packages.
	Build job.PackageBuild
	// Details are empty in lists.
	Details job.PackageDetails
}

// mostDetails bounds the details of a set of packages.
const mostDetails = 8 << 20

// PrepareEnvironment has packages installed, and modules of theirs imported, ahead. known: the caller has it already, or it is under way.
func (s *Service) PrepareEnvironment(ctx context.Context, c Caller, runtime string, packages, preload []string) (info EnvironmentInfo, known bool, err error) {
	if err := c.may(access.Execute); err != nil {
		return info, false, err
	}
	if len(packages) == 0 {
		return info, false, &job.ValidationError{Fields: []job.FieldError{{Field: "packages", Message: "is empty; name packages, such as requests or pandas==2.2.3"}}}
	}
	now := time.Now()
	n, err := s.draft(ctx, c, Submission{Request: job.Request{Code: "pass", Runtime: runtime, Packages: packages, Preload: preload}}, now)
	if err != nil {
		return info, false, err
	}
	e := job.Environment{ID: job.EnvironmentID(n.Job.Runtime), Runtime: job.WithoutPreload(n.Job.Runtime), Packages: n.Spec.Packages, Preload: n.Spec.Preload, JobID: n.Job.ID, CreatedAt: now.UTC().Truncate(time.Millisecond)}
	before, err := s.cfg.Packages.Environment(ctx, c.ID(), e.ID)
	if err == nil {
		if info, err = s.environmentNow(ctx, before); err != nil {
			return info, false, err
		}
		imports := len(e.Preload) == 0 || slices.Equal(e.Preload, before.Preload)
		if imports && info.State != EnvironmentFailed && info.State != EnvironmentExpired {
			return info, true, nil
		}
	} else if !errors.Is(err, job.ErrNoEnvironment) {
		return info, false, err
	}
	created := s.submit(ctx, []job.NewJob{n})[0]
	if created.Err != nil {
		return info, false, created.Err
	}
	if err := s.cfg.Packages.SaveEnvironment(ctx, c.ID(), e); err != nil {
		return info, false, err
	}
	info, err = s.environmentNow(ctx, e)
	return info, false, err
}

// Environments lists what the caller has had prepared, newest first.
func (s *Service) Environments(ctx context.Context, c Caller) ([]EnvironmentInfo, error) {
	if err := c.may(access.Read); err != nil {
		return nil, err
	}
	all, err := s.cfg.Packages.Environments(ctx, c.ID())
	if err != nil {
		return nil, err
	}
	infos := make([]EnvironmentInfo, len(all))
	for i, e := range all {
		if infos[i], err = s.environmentNow(ctx, e); err != nil {
			return nil, err
		}
	}
	return infos, nil
}

// Environment returns one of them with its lock file and the words of the installer. job.ErrNoEnvironment: the caller has prepared none with this id.
func (s *Service) Environment(ctx context.Context, c Caller, id string) (EnvironmentInfo, error) {
	if err := c.may(access.Read); err != nil {
		return EnvironmentInfo{}, err
	}
	e, err := s.cfg.Packages.Environment(ctx, c.ID(), id)
	if err != nil {
		return EnvironmentInfo{}, err
	}
	info, err := s.environmentNow(ctx, e)
	if err == nil && info.State == EnvironmentReady && info.Build.Details != "" {
		info.Details, err = s.packageDetails(ctx, info.Build.Details)
	}
	return info, err
}

// environmentNow adds to an environment what has become of it. The job is the caller's own, so whether it may be seen is not asked.
func (s *Service) environmentNow(ctx context.Context, e job.Environment) (EnvironmentInfo, error) {
	info := EnvironmentInfo{Environment: e, State: EnvironmentExpired}
	j, err := s.cfg.Lookup.Summary(ctx, e.JobID)
	gone := errors.Is(err, job.ErrNotFound) || errors.Is(err, job.ErrGone)
	if err != nil && !gone {
		return info, err
	}
	if !gone && !j.State.Terminal() {
		info.State = EnvironmentQueued
		installing, err := s.cfg.Packages.Installing(ctx, e.Runtime)
		if err == nil && installing != nil {
			info.State, info.Installation = EnvironmentBuilding, installing
		}
		return info, err
	}
	if !gone && j.State != job.Completed {
		info.State, info.Failure = EnvironmentFailed, j.Failure
		return info, nil
	}
	build, err := s.cfg.Packages.NewestPackageBuild(ctx, e.Runtime)
	if errors.Is(err, job.ErrNotFound) {
		return info, nil
	}
	info.State, info.Build, info.ReadyAt = EnvironmentReady, build, j.FinishedAt
	return info, err
}

// packageDetails reads the details of a set of packages; they are empty if the storage does not have them any more.
func (s *Service) packageDetails(ctx context.Context, key string) (d job.PackageDetails, err error) {
	content, err := s.cfg.Blobs.Open(ctx, key)
	if errors.Is(err, job.ErrNoFile) {
		return d, nil
	}
	if err != nil {
		return d, fileError(err)
	}
	defer func() {
		if err := content.Close(); err != nil {
			s.cfg.Log.WarnContext(ctx, "a blob was not closed", slog.Any("err", err))
		}
	}()
	if err := json.NewDecoder(io.LimitReader(content, mostDetails)).Decode(&d); err != nil {
		return d, fmt.Errorf("read the lock file of packages: %w", err)
	}
	return d, nil
}
