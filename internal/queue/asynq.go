package queue

import (
	"context"
	"errors"
	"time"

	"github.com/hibiken/asynq"

	"github.com/kaa-run/kaa/internal/job"
)

// The load of an idle server on Redis, in commands as INFO counts them, including
// those inside scripts. Q is the number of queues, 3 by default:
//
//	gate        BLPOP and EXISTS every IdlePoll (5 s)                         0.4/s
//	heartbeater 6 every 5 s, fixed in asynq                                   1.2/s
//	subscriber  PING every 3 s, fixed in go-redis                             0.3/s
//	recoverer   5Q every 60 s, fixed in asynq                                 0.25/s
//	forwarder   4Q every forwardInterval                                      0.4/s
//	janitor     2Q every janitorInterval                                      0
const (
	// gatedInterval is asynq's average sleep after a round of empty queues. The gate does the
	// waiting; this only delays its closing.
	gatedInterval = 100 * time.Microsecond
	// pollInterval replaces it when there is no gate: 3Q commands each time.
	pollInterval = 20 * time.Millisecond
	// forwardInterval is the interval at which tasks that are due for a retry become pending.
	// Kaa's own retries do not wait for it (see retrySoon). It serves retries of a server that
	// died, and of asynq's recoverer, which are a minute late anyway.
	forwardInterval = 30 * time.Second
	// janitorInterval: the janitor deletes completed tasks that were retained. Kaa retains none.
	janitorInterval = time.Hour
	// retryDelay is the pause after which a task comes again whose handler returned an error.
	retryDelay = time.Second
	// preparingDelay is the pause after which a task comes again for which a server prepares something, should that server die.
	preparingDelay = 30 * time.Second
	// putBackPause is the first pause before a search for a task that goes back to its old
	// place: asynq's retry is a round trip.
	putBackPause = 5 * time.Millisecond
	// asynqShutdownTimeout is asynq's own value for a ShutdownTimeout of 0.
	asynqShutdownTimeout = 8 * time.Second
	// recogniseTimeout is never reached: either asynq dequeues within milliseconds,
	// whether Redis is up or not, or it sends many other commands. If it did
	// neither, polling would be right.
	recogniseTimeout = 10 * time.Second
	// stopDelay is the longest time that Stop waits for a dequeue under way.
	stopDelay = 500 * time.Millisecond
)

func (s *Server) newAsynq(ctx context.Context, interval time.Duration) *asynq.Server {
	// Not ctx, because its end, for example by a signal, would end every running task.
	detached := context.WithoutCancel(ctx)
	return asynq.NewServerFromRedisClient(s.cfg.Redis, asynq.Config{
		Concurrency:              s.cfg.Concurrency,
		Queues:                   s.cfg.Queues,
		BaseContext:              func() context.Context { return detached },
		TaskCheckInterval:        interval,
		DelayedTaskCheckInterval: forwardInterval,
		JanitorInterval:          janitorInterval,
		RetryDelayFunc:           func(_ int, err error, _ *asynq.Task) time.Duration { return delayOf(err) },
		IsFailure:                isFailure,
		ShutdownTimeout:          s.shutdownTimeout(),
		Logger:                   asynqLog{s.cfg.Log},
		LogLevel:                 asynq.InfoLevel,
	})
}

// delayOf returns when a task comes again if no server has it run sooner. Preparations for it take longer.
func delayOf(err error) time.Duration {
	if preparing := (*job.PreparingError)(nil); errors.As(err, &preparing) {
		return preparingDelay
	}
	return retryDelay
}

// isFailure keeps asynq from counting retries. After maxRetry of them it would archive the task,
// although the job's record says queued. No error that asynq sees is a failure of the job. The
// record of a job that cannot run is ended; then the handler returns nil and the task is gone.
func isFailure(error) bool { return false }

func (s *Server) shutdownTimeout() time.Duration {
	if s.cfg.ShutdownTimeout == 0 {
		return asynqShutdownTimeout
	}
	return s.cfg.ShutdownTimeout
}
