package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/kaa-run/kaa/internal/job"
)

// watchFiles shows the changes in a directory of a session as events of the operation's job, until the directory is gone, the caller
// goes away, or the session ends.
func watchFiles(ctx context.Context, s *Session, args json.RawMessage) (any, *job.SessionEnd, error) {
	var r job.FSRequest
	if err := json.Unmarshal(args, &r); err != nil {
		return nil, nil, fmt.Errorf("decode arguments: %w", err)
	}
	if !job.ValidAbsolute(string(r.Path)) {
		return nil, nil, &job.RefusedError{Code: job.FailNoFile, Message: "the session has no file of such a path"}
	}
	tap := s.of.r.tapOf(s.claim.JobID)
	show := func(e job.FileEvent) {
		tap.Show(func() bool { return true }, func() job.Event { return job.NewEvent(job.EventType(e.Type), e) })
	}
	end, err := inInterpreter(ctx, s, func(i Interpreter) error {
		return i.InFiles(ctx, func(ctx context.Context, f job.FileSystem) error {
			ready := func() { show(job.FileEvent{Type: job.FileReady}) }
			return f.Watch(ctx, string(r.Path), r.Recursive, ready, func(events []job.FileEvent) error {
				for _, e := range events {
					show(e)
				}
				return nil
			})
		})
	})
	if errors.Is(err, context.Canceled) && ctx.Err() == nil {
		err = &job.RefusedError{Message: "the session's sandbox has ended, and the watch with it"}
	}
	return struct{}{}, end, err
}

// tapOf returns the tap of a job that is executed; nil if there is none.
func (r *Runner) tapOf(jobID string) *job.Tap {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.active[jobID]; e != nil {
		return e.tap
	}
	return nil
}
