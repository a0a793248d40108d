package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// Packages are added to a session as a copy in its own directory for temporary files, which is the first place where its
// interpreter looks for modules from then on. The copy is the session's: its code may change it, and no other sandbox has it.

// lookTime is the time limit for code that has an interpreter look there.
const lookTime = 30 * time.Second

// addPackages installs packages for a session whose interpreter keeps its variables.
func (s *sessions) addPackages(ctx context.Context, se *Session, args json.RawMessage) (any, *job.SessionEnd, error) {
	var a job.PackagesArgs
	if err := json.Unmarshal(args, &a); err != nil {
		return nil, nil, fmt.Errorf("decode arguments: %w", err)
	}
	return se.addPackages(ctx, a.Packages)
}

func (s *Session) addPackages(ctx context.Context, packages []string) (any, *job.SessionEnd, error) {
	if s.of.r.cfg.Packages == nil {
		return nil, nil, &job.RefusedError{Code: job.FailNoPackages, Message: noPackages}
	}
	runtime, _ := job.SplitPackages(s.spec.Runtime)
	name := job.WithPackages(runtime, packages)
	_, set := job.SplitPackages(name)
	added := job.AddedPackages{Packages: packages, Path: job.AddedPath(set)}
	var end *job.SessionEnd
	err := s.of.r.cfg.Packages.Take(ctx, name, packages, func(write func(io.Writer) error) (err error) {
		end, err = inInterpreter(ctx, s, func(i Interpreter) (err error) {
			added.Bytes, err = bringPackages(ctx, i, added.Path, write)
			return err
		})
		return err
	})
	if err != nil {
		return nil, end, err
	}
	end, err = inInterpreter(ctx, s, func(i Interpreter) error {
		result, ended, err := i.Execute(ctx, job.Spec{Code: lookThere(added.Path), Timeout: lookTime}, job.Live{})
		switch {
		case err != nil:
			return err
		case ended != nil:
			return errEnded
		case result.Error != nil:
			return &job.RefusedError{Code: job.FailRefused, Message: "the interpreter of the session does not look for modules in " + added.Path + ": " + result.Error.Value}
		}
		return nil
	})
	return added, end, err
}

// errEnded: the interpreter has ended, which the session says more about.
var errEnded = errors.New("the interpreter has ended")

// lookThere is code that has an interpreter, and programs that it starts, look for modules in a directory first. It uses no name of
// the session's.
func lookThere(path string) string {
	code, _ := json.Marshal(strings.Join([]string{ // a text of JSON is one of Python, too
		"import sys, os, importlib",
		"if path not in sys.path: sys.path.insert(0, path)",
		"paths = os.environ.get('PYTHONPATH', '').split(os.pathsep)",
		"if path not in paths: os.environ['PYTHONPATH'] = os.pathsep.join([path] + [p for p in paths if p])",
		"importlib.invalidate_caches()",
	}, "\n"))
	where, _ := json.Marshal(path)
	return fmt.Sprintf(`exec(%s, {"path": %s})`, code, where)
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
