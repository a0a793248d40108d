package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/hibiken/asynq"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/luascript"
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
	if errors.Is(err, job.ErrPaused) {
		s.background.Go(func() { s.putBack(t, true) })
		return err
	}
	if preparing, ok := errors.AsType[*job.PreparingError](err); ok {
		s.background.Go(func() {
			select {
			case <-preparing.Done:
			case <-s.drained:
			}
			s.runPrepared(t)
		})
		return err
	}
	s.gate.handled(err)
	if err == nil {
		return nil
	}
	s.cfg.Log.WarnContext(ctx, "queue: a task comes again",
		slog.String("job_id", t.JobID), slog.Int("attempt", t.Attempt), slog.Any("err", err))
	if errors.Is(err, job.ErrNoWorker) {
		s.background.Go(func() { s.putBack(t, false) })
	} else {
		s.background.Go(func() { s.retrySoon(t) })
	}
	return err
}

// putBackScript moves a task that asynq has set aside for a retry to its old place; if_paused, only
// where the queue is paused. It answers 1 if it did.
//
//nolint:gochecknoglobals // never changes
var putBackScript = luascript.New("putBack", `
-- keys: retry, pending, task, paused
-- args: id, if_paused
if ARGV.if_paused == '1' and redis.call('EXISTS', KEYS.paused) == 0 then return 0 end
if redis.call('ZREM', KEYS.retry, ARGV.id) == 0 then return 0 end
redis.call('RPUSH', KEYS.pending, ARGV.id)
redis.call('HSET', KEYS.task, 'state', 'pending')
return 1`)

// putBack gives a task its old place, for a server that can handle it. asynq sets the task aside
// once the handler has returned, so it may not be there yet. Unless the server or the queue is paused, the
// server would get it back at once; in that case it comes after a while.
func (s *Server) putBack(t job.Task, queuePaused bool) {
	if !queuePaused && !s.gate.isHeld() {
		s.retrySoon(t)
		return
	}
	prefix := "asynq:{" + t.Queue + "}:"
	keys := luascript.Keys{
		{"retry", prefix + "retry"}, {"pending", prefix + "pending"}, {"task", prefix + "t:" + taskID(t)}, {"paused", pausedKey(t.Queue)},
	}
	ifPaused := 0
	if queuePaused {
		ifPaused = 1
	}
	for pause := putBackPause; pause < retryDelay; pause *= 2 {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-s.drained:
			timer.Stop()
		}
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		moved, err := putBackScript.Call(ctx, s.cfg.Redis, keys, luascript.Args{{"id", taskID(t)}, {"if_paused", ifPaused}}).Int()
		cancel()
		if err == nil && moved == 1 {
			if !queuePaused {
				s.wakeAll(map[string]int{t.Queue: 1})
			}
			return
		}
	}
	s.retrySoon(t)
}

// retrySoon makes a task pending that asynq set aside for a retry, when its time has come or the
// server is closed. asynq would check for it only every forwardInterval, and would wake no
// server.
func (s *Server) retrySoon(t job.Task) {
	timer := time.NewTimer(retryDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.drained:
	}
	if err := s.inspect.RunTask(t.Queue, taskID(t)); err != nil {
		// Usually it is gone or pending already; if not, the forwarder finds it.
		s.cfg.Log.Debug("queue: retry is left to asynq", slog.String("job_id", t.JobID), slog.Any("err", err))
		return
	}
	s.wakeAll(map[string]int{t.Queue: 1})
}

// runPrepared makes a task pending that asynq has set aside, or is about to set aside.
func (s *Server) runPrepared(t job.Task) {
	for pause := putBackPause; pause < retryDelay; pause *= 2 {
		if err := s.inspect.RunTask(t.Queue, taskID(t)); err == nil {
			s.wakeAll(map[string]int{t.Queue: 1})
			return
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-s.drained:
			timer.Stop()
		}
	}
	s.retrySoon(t)
}

// inflight counts the running handlers, by queue. A sync.WaitGroup would not do, because it does
// not show its count.
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
