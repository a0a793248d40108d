package queue

import (
	"context"
	"time"

	"github.com/hibiken/asynq"
)

// What an idle server costs Redis, in commands as INFO counts them, which is with
// those inside scripts. Q is the number of queues, 3 by default:
//
//	gate        BLPOP and EXISTS every IdlePoll (5 s)                         0.4/s
//	heartbeater 6 every 5 s, fixed in asynq                                   1.2/s
//	subscriber  PING every 3 s, fixed in go-redis                             0.3/s
//	recoverer   5Q every 60 s, fixed in asynq                                 0.25/s
//	forwarder   4Q every forwardInterval                                      0.4/s
//	janitor     2Q every janitorInterval                                      0
const (
	// gatedInterval is what asynq sleeps, on average, after a round of empty queues.
	// The gate does the waiting; this only delays its closing.
	gatedInterval = 100 * time.Microsecond
	// pollInterval replaces it when there is no gate: 3Q commands each time.
	pollInterval = 20 * time.Millisecond
	// forwardInterval is how often tasks that are due for a retry become pending.
	// Our own retries do not wait for it (see retrySoon); it is for those of a
	// server that died, and of asynq's recoverer, which are a minute late anyway.
	forwardInterval = 30 * time.Second
	// janitorInterval: it deletes completed tasks that were retained. We retain none.
	janitorInterval = time.Hour
	// retryDelay is when a task whose handler returned an error comes again.
	retryDelay = time.Second
	// putBackPause is the first pause before a task is looked for that goes back to its old
	// place: asynq's retry is a round trip.
	putBackPause = 5 * time.Millisecond
	// asynqShutdownTimeout is what asynq makes of a ShutdownTimeout of 0.
	asynqShutdownTimeout = 8 * time.Second
	// recogniseTimeout is never reached: either asynq dequeues within milliseconds,
	// whether Redis is up or not, or it sends many other commands. If it did
	// neither, polling would be right.
	recogniseTimeout = 10 * time.Second
	// stopPatience is how long Stop waits for a dequeue that is on its way.
	stopPatience = 500 * time.Millisecond
)

func (s *Server) newAsynq(ctx context.Context, interval time.Duration) *asynq.Server {
	// Not ctx: its end, say by a signal, would end every running task.
	detached := context.WithoutCancel(ctx)
	return asynq.NewServerFromRedisClient(s.cfg.Redis, asynq.Config{
		Concurrency:              s.cfg.Concurrency,
		Queues:                   s.cfg.Queues,
		BaseContext:              func() context.Context { return detached },
		TaskCheckInterval:        interval,
		DelayedTaskCheckInterval: forwardInterval,
		JanitorInterval:          janitorInterval,
		RetryDelayFunc:           func(int, error, *asynq.Task) time.Duration { return retryDelay },
		IsFailure:                isFailure,
		ShutdownTimeout:          s.shutdownTimeout(),
		Logger:                   asynqLog{s.cfg.Log},
		LogLevel:                 asynq.InfoLevel,
	})
}

// isFailure keeps asynq from counting retries: after maxRetry of them it would put
// the task into its archive, where nobody looks, while the job's record says
// queued. Nothing that asynq sees is a failure of the job. A job that cannot run is
// ended by its record, whereupon the handler returns nil and the task is gone.
func isFailure(error) bool { return false }

func (s *Server) shutdownTimeout() time.Duration {
	if s.cfg.ShutdownTimeout == 0 {
		return asynqShutdownTimeout
	}
	return s.cfg.ShutdownTimeout
}
