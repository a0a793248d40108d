package queue

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/hibiken/asynq"
)

// process is asynq's handler.
func (s *Server) process(ctx context.Context, at *asynq.Task) error {
	t, err := parsePayload(at.Payload())
	t.Queue, _ = asynq.GetQueueName(ctx)
	if err != nil {
		id, _ := asynq.GetTaskID(ctx)
		s.cfg.Log.ErrorContext(ctx, "queue: dropped a task that is not ours",
			slog.String("queue", t.Queue), slog.String("task", id), slog.Any("err", err))
		// Not SkipRetry, which keeps the task in the archive for 90 days.
		return fmt.Errorf("%w: %w", asynq.RevokeTask, err)
	}
	s.tasks.enter(t.Queue)
	defer s.tasks.leave(t.Queue)

	err = s.handler(ctx, t)
	s.gate.handled(err)
	if err == nil {
		return nil
	}
	s.cfg.Log.WarnContext(ctx, "queue: a task comes again",
		slog.String("job_id", t.JobID), slog.Int("attempt", t.Attempt), slog.Any("err", err))
	s.background.Go(func() { s.retrySoon(t) })
	return err
}

// retrySoon makes a task pending that asynq set aside for a retry, when its time
// has come or the server is closed. asynq would look for it only every
// forwardInterval, and would wake nobody.
func (s *Server) retrySoon(t Task) {
	timer := time.NewTimer(retryDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.drained:
	}
	if err := s.inspect.RunTask(t.Queue, t.id()); err != nil {
		// As a rule it is gone or pending already; if not, the forwarder finds it.
		s.cfg.Log.Debug("queue: retry is left to asynq", slog.String("job_id", t.JobID), slog.Any("err", err))
		return
	}
	s.wakeAll(map[string]int{t.Queue: 1})
}

// inflight counts the handlers that are running, by queue. A sync.WaitGroup would
// not do: it does not tell how many there are.
type inflight struct {
	mu      sync.Mutex
	changed *sync.Cond
	running map[string]int
}

func newInflight() *inflight {
	f := &inflight{running: make(map[string]int)}
	f.changed = sync.NewCond(&f.mu)
	return f
}

func (f *inflight) enter(queue string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running[queue]++
}

func (f *inflight) leave(queue string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running[queue]--; f.running[queue] == 0 {
		delete(f.running, queue)
	}
	f.changed.Broadcast()
}

func (f *inflight) counts() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.running)
}

// wait returns when no handler is running.
func (f *inflight) wait() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.running) > 0 {
		f.changed.Wait()
	}
}
