package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/kaa-run/kaa/internal/job"
)

// Packages are added to a session as a copy in its own directory for temporary files. Its interpreters look there before each
// execution, and the process that starts commands before each command: see added.py. So no interpreter is asked for anything. The copy is
// the session's: its code may change it, and no other sandbox has it.

// addPackages installs packages for a session whose interpreter keeps its variables.
func (s *sessions) addPackages(ctx context.Context, se *Session, args json.RawMessage) (any, *job.SessionEnd, error) {
	var a job.PackagesArgs
	if err := json.Unmarshal(args, &a); err != nil {
		return nil, nil, fmt.Errorf("decode arguments: %w", err)
	}
	return se.addPackages(ctx, a.Packages)
}

// addPackages is for the default lane, which uses the sandbox anyway.
func (s *Session) addPackages(ctx context.Context, packages []string) (any, *job.SessionEnd, error) {
	added, end, err := s.copyPackages(ctx, packages, func() (func(), error) { return func() {}, nil })
	if err != nil {
		return nil, end, err
	}
	return added, nil, nil
}

// copyPackages installs packages, and copies them into the sandbox of the session. enter lets it use the sandbox, until leave.
func (s *Session) copyPackages(ctx context.Context, packages []string, enter func() (leave func(), err error)) (added job.AddedPackages, end *job.SessionEnd, err error) {
	if s.of.r.cfg.Packages == nil {
		return added, nil, &job.RefusedError{Code: job.FailNoPackages, Message: noPackages}
	}
	runtime, _ := job.SplitPackages(s.spec.Runtime)
	name := job.WithPackages(runtime, packages)
	_, set := job.SplitPackages(name)
	added = job.AddedPackages{Packages: packages, Path: job.AddedPath(set)}
	err = s.of.r.cfg.Packages.Take(ctx, name, job.PackageSpec{Packages: packages, Owner: s.spec.Owner}, func(write func(io.Writer) error) error {
		leave, err := enter()
		if err != nil {
			return err
		}
		defer leave()
		select {
		case s.adding <- struct{}{}: // lanes may add at the same time
			defer func() { <-s.adding }()
		case <-ctx.Done():
			return fmt.Errorf("wait for other packages: %w", context.Cause(ctx))
		}
		end, err = inInterpreter(ctx, s, func(i Interpreter) (err error) {
			added.Bytes, err = bringPackages(ctx, i, added.Path, write)
			return err
		})
		return err
	})
	return added, end, err
}

// addInContext installs the packages of an execution in a context; it returns an outcome if they cannot be had.
func (s *sessions) addInContext(ctx context.Context, log *slog.Logger, l *lane, c *other, e *execution) *job.Outcome {
	if len(e.claim.Spec.Packages) == 0 {
		return nil
	}
	adding, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(c.life, stop)()
	_, end, err := (&Session{l.se, e.claim}).copyPackages(adding, e.claim.Spec.Packages, func() (func(), error) {
		return l.leave, l.enter(adding, e.end)
	})
	if o, known := cutOff(ctx, err); known && (err != nil || errors.Is(cause(ctx), errReplaced)) {
		return &o
	}
	if l.se.context(c.ID) != c {
		return &job.Outcome{State: job.Failed, Failure: noContext()}
	}
	if err == nil {
		return nil
	}
	o := notAdded(ctx, log, end, err)
	if end == nil && o.End != nil { // the context goes on, and its session, too
		o = job.Outcome{State: job.Failed, Failure: &job.Failure{Code: job.FailWorker, Message: "the packages could not be copied into the session"}}
	}
	return &o
}

// bringPackages copies packages into the sandbox of an interpreter, and returns their bytes. It does nothing if they are there.
func bringPackages(ctx context.Context, i Interpreter, path string, write func(io.Writer) error) (size int64, err error) {
	err = i.InFiles(ctx, func(ctx context.Context, f job.FileSystem) error {
		if _, err := f.Stat(path); err == nil {
			return nil
		}
		// A set of packages is complete once it has its own name: other interpreters and commands of the session look there meanwhile.
		half := job.AddedPath(halfAdded)
		if _, err := f.Stat(half); err == nil {
			if err := f.Remove(ctx, half, true); err != nil {
				return err
			}
		}
		if _, err := f.MakeDir(half, 0o755, true); err != nil {
			return err
		}
		out, in := io.Pipe()
		written := make(chan error, 1)
		go func() {
			err := write(in)
			_ = in.CloseWithError(err)
			written <- err
		}()
		_, size, err = f.Unpack(ctx, half, mostAdded, out)
		_ = out.CloseWithError(errors.New("no more is taken"))
		if writeErr := <-written; err == nil {
			err = writeErr
		}
		if err == nil {
			_, err = f.Move(ctx, half, path, false, false)
		}
		if err != nil {
			return errors.Join(err, f.Remove(context.WithoutCancel(ctx), half, true))
		}
		return nil
	})
	return size, err
}

// halfAdded is the name of the set that is being copied. No set has it.
const halfAdded = ".new"

// mostAdded bounds the bytes of packages that are added to a session. Its quota of the disk is usually lower.
const mostAdded = 1 << 40

// notAdded is the outcome of an execution whose packages could not be added to its session.
func notAdded(ctx context.Context, log *slog.Logger, end *job.SessionEnd, err error) job.Outcome {
	if refused, ok := errors.AsType[*job.RefusedError](err); ok {
		return job.Outcome{State: job.Failed, Failure: refusal(refused)}
	}
	if ctx.Err() != nil {
		return notBegun(ctx)
	}
	log.ErrorContext(ctx, "packages were not added to a session", slog.Any("err", err))
	if end == nil {
		end = &job.SessionEnd{Reason: job.EndCrashed, Message: "packages could not be copied into it"}
	}
	return sessionFailed(*end)
}
