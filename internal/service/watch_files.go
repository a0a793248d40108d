package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// FileWatch shows changes in a directory of a session. It is for one goroutine, and to be closed.
type FileWatch struct{ w *Watching }

// WatchFiles returns once changes in a directory of a session are seen. The watch ends if the FileWatch is closed, or if
// this process dies.
func (s *Service) WatchFiles(ctx context.Context, c Caller, session string, r job.FSRequest) (*FileWatch, error) {
	if err := c.may(access.Sessions); err != nil {
		return nil, err
	}
	if err := checkSession(session); err != nil {
		return nil, err
	}
	end, err := s.cfg.Hub.beginStream(c.ID(), s.cfg.MaxSyncWaits)
	if err != nil {
		return nil, err
	}
	f, err := s.watchFiles(ctx, c, session, r, end)
	if err != nil {
		return nil, err
	}
	if err := f.awaitReady(ctx); err != nil {
		f.Close(ctx)
		return nil, err
	}
	return f, nil
}

// watchFiles submits the operation. It calls end if it returns an error.
func (s *Service) watchFiles(ctx context.Context, c Caller, session string, r job.FSRequest, end func()) (f *FileWatch, err error) {
	defer func() {
		if err != nil {
			end()
		}
	}()
	id, err := newID("job")
	if err != nil {
		return nil, err
	}
	args, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode the arguments of %s: %w", job.OpWatchFiles, err)
	}
	now, longest := time.Now(), s.cfg.Limits.Sessions.MaxAge
	j, err := s.submitForCaller(ctx, job.NewJob{
		Job: job.Job{
			ID: id, State: job.Queued, Queue: job.OperationQueue, MaxAttempts: 1, CreatedAt: now, QueuedAt: now,
			SessionID: session, InSession: true, Lane: job.LaneOf(job.OpWatchFiles), Timeout: longest, ResultTTL: opKept,
		},
		Spec:   job.Spec{Op: job.OpWatchFiles, Args: args, Timeout: longest},
		Caller: c.ID(), MostWaiting: c.limits().MostWaiting(), Subscriber: s.cfg.Hub.Subscriber, Events: true,
	})
	if err != nil {
		return nil, err
	}
	follower, err := s.follow(ctx, c, j.ID, job.EventID{}, s.cfg.Draining)
	if err != nil {
		s.cancelLater(ctx, j)
		return nil, &JobError{j.ID, err}
	}
	abandon := now.Add(s.cfg.SyncQueueWait)
	return &FileWatch{&Watching{s: s, follower: follower, job: j, end: end, begun: true, abandon: abandon, overall: abandon.Add(longest + settleTime)}}, nil
}

// awaitReady returns once changes are seen.
func (f *FileWatch) awaitReady(ctx context.Context) error {
	for {
		e, err := f.w.Next(ctx, lookEvery)
		switch {
		case errors.Is(err, ErrQuiet):
		case err != nil:
			return err
		case e.Type == job.FileReady:
			return nil
		case e.ID.Ends():
			f.w.over = true
			j, err := f.w.s.cfg.Lookup.Get(ctx, f.w.job.ID)
			if err == nil {
				err = &EndError{j}
			}
			return err
		}
	}
}

// fileWatchEnd is the last event of a FileWatch.
type fileWatchEnd struct {
	Type    string `json:"type"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Next returns the next change, and ErrOver after the event of the end. ErrQuiet: none has come for that long.
func (f *FileWatch) Next(ctx context.Context, quiet time.Duration) (job.Event, error) {
	for {
		e, err := f.w.Next(ctx, quiet)
		switch {
		case err != nil:
			return e, err
		case e.ID.Ends():
			return endOfFileWatch(e), nil
		case e.Type == job.EventGap:
			return job.NewEvent(job.FileOverflow, job.FileEvent{Type: job.FileOverflow}), nil
		case e.Type == job.EventStatus || e.Type == job.FileReady:
			continue
		}
		e.ID = job.EventID{} // a client cannot go on after it
		return e, nil
	}
}

func endOfFileWatch(e job.Event) job.Event {
	end := fileWatchEnd{"end", "directory_gone", "the directory was removed or moved"}
	var how endData
	if err := json.Unmarshal(e.Data, &how); err != nil || how.Failure != nil {
		end.Reason, end.Message = string(job.FailWorker), "the watch has ended"
	}
	if how.Failure != nil {
		end.Reason, end.Message = string(how.Failure.Code), how.Failure.Message
	}
	return job.NewEvent("end", end)
}

// Close ends the watch.
func (f *FileWatch) Close(ctx context.Context) { f.w.Close(ctx) }
