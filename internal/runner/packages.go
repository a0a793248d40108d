package runner

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/kaa-run/kaa/internal/job"
)

// Packages installs sets of packages.
type Packages interface {
	// Prepare returns nil if Acquire hands out workers of a runtime with a set of packages, by that name: see
	// job.WithPackages and job.WithPreload. A job.PreparingError: they are being installed; a job.RefusedError: they cannot be had. list
	// returns what the set is made of.
	Prepare(ctx context.Context, name string, list func(context.Context) (job.PackageSpec, error)) error
	// Take installs a set, and calls use with a function that writes its files as a tar.
	Take(ctx context.Context, name string, spec job.PackageSpec, use func(write func(io.Writer) error) error) error
}

// preparePackages sees to it that the packages of a job are installed. It reports whether the job has ended because they cannot
// be. While they are being installed, the job keeps its place on the queue, and no place of this runner.
func (r *Runner) preparePackages(ctx context.Context, jobID, runtime string) (ended bool, err error) {
	name, set := job.SplitPackages(runtime)
	if set == "" || !r.cfg.Self.Offers(name) { // the latter is the answer of Acquire
		return false, nil
	}
	if r.cfg.Packages == nil {
		return true, r.reject(ctx, jobID, job.Failure{Code: job.FailNoPackages, Message: noPackages})
	}
	err = r.cfg.Packages.Prepare(ctx, runtime, func(ctx context.Context) (job.PackageSpec, error) { return r.cfg.Records.Packages(ctx, jobID) })
	if refused, ok := errors.AsType[*job.RefusedError](err); ok {
		return true, r.reject(ctx, jobID, *refusal(refused))
	}
	switch {
	case errors.Is(err, job.ErrNotFound), errors.Is(err, job.ErrGone): // it was settled
		return true, nil
	case err != nil:
		return false, fmt.Errorf("prepare %s: %w", jobID, err)
	}
	return false, nil
}

const noPackages = "the runner that took it installs no packages (KAA_PACKAGES=off)"

// awaitPackages waits until the packages of a session are installed. A job.RefusedError: they cannot be had.
func (r *Runner) awaitPackages(ctx context.Context, spec job.SessionSpec) error {
	if len(spec.Packages) == 0 {
		return nil
	}
	if r.cfg.Packages == nil {
		return &job.RefusedError{Code: job.FailNoPackages, Message: noPackages}
	}
	for {
		err := r.cfg.Packages.Prepare(ctx, spec.Runtime, func(context.Context) (job.PackageSpec, error) {
			return job.PackageSpec{Packages: spec.Packages, Preload: spec.Preload, Owner: spec.Owner}, nil
		})
		preparing, ok := errors.AsType[*job.PreparingError](err)
		if !ok {
			return err
		}
		select {
		case <-preparing.Done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
