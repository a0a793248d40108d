package app

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/blob"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
	"github.com/kaa-run/kaa/internal/store"
	"github.com/kaa-run/kaa/internal/telemetry"
)

// redisMetrics is a hook that counts the commands of a client. It is added after other hooks, so
// that it sees the commands that they send.
type redisMetrics struct{ metrics *telemetry.Metrics }

// DialHook counts connections that failed.
func (h redisMetrics) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if err != nil && ctx.Err() == nil {
			h.metrics.RedisFailed(telemetry.RedisDial)
		}
		return conn, err
	}
}

// ProcessHook measures a command.
func (h redisMetrics) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		start := time.Now()
		err := next(ctx, cmd)
		h.metrics.Redis(kindOf(cmd), time.Since(start), isFailure(ctx, err))
		return err
	}
}

// ProcessPipelineHook measures a pipeline of commands.
func (h redisMetrics) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		start := time.Now()
		err := next(ctx, cmds)
		h.metrics.Redis(telemetry.RedisPipeline, time.Since(start), isFailure(ctx, err))
		return err
	}
}

func kindOf(cmd redis.Cmder) string {
	switch name := cmd.Name(); {
	case strings.HasPrefix(name, "eval"):
		return telemetry.RedisScript
	case name == "blpop" || name == "brpop" || name == "blmove":
		return telemetry.RedisBlocking
	}
	return telemetry.RedisCommand
}

// isFailure reports whether an error is a failure of Redis. Three errors are none: redis.Nil is an
// answer, a client sends a script again after NOSCRIPT, and the end of ctx is the caller's.
func isFailure(ctx context.Context, err error) bool {
	return err != nil && !errors.Is(err, redis.Nil) && !redis.HasErrorPrefix(err, "NOSCRIPT") && ctx.Err() == nil
}

// countedEnds is the store. It counts the ends that this process writes for jobs that no runner
// executes.
type countedEnds struct {
	*store.Store
	metrics *telemetry.Metrics
}

// Cancel counts the jobs that it ends. The runner of a running job counts that job's end.
func (c countedEnds) Cancel(ctx context.Context, id string) (job.State, error) {
	state, err := c.Store.Cancel(ctx, id)
	if err == nil && state == job.Cancelled {
		c.metrics.Ended(state, job.FailCancelled)
	}
	return state, err
}

// Abandon counts the jobs that it ends because their caller does not wait any more.
func (c countedEnds) Abandon(ctx context.Context, id string, f job.Failure) (job.State, error) {
	state, err := c.Store.Abandon(ctx, id, f)
	if err == nil && state == job.Cancelled {
		c.metrics.Ended(state, f.Code)
	}
	return state, err
}

// Rescue counts the ends of the jobs of lost processes.
func (c countedEnds) Rescue(ctx context.Context, lapsed ...string) ([]job.Rescued, bool, error) {
	rescued, runner, err := c.Store.Rescue(ctx, lapsed...)
	for _, r := range rescued {
		switch {
		case r.State == job.Running: // its runner will end it
		case r.Unattended:
			c.metrics.Ended(r.State, job.FailWaiterLost)
		default:
			c.metrics.Ended(r.State, job.FailRunnerLost)
		}
	}
	return rescued, runner, err
}

// countedBlobs is the store of files. It counts the failures.
type countedBlobs struct {
	*blob.Store
	metrics *telemetry.Metrics
}

func (c countedBlobs) count(ctx context.Context, op string, err error) {
	if err != nil && !errors.Is(err, job.ErrNoFile) && ctx.Err() == nil {
		c.metrics.BlobFailed(op)
	}
}

// Put counts failures of the store. An error of the content's reader is none.
func (c countedBlobs) Put(ctx context.Context, key string, content io.Reader) (int64, error) {
	n, err := c.Store.Put(ctx, key, content)
	if errors.Is(err, job.ErrUnavailable) {
		c.count(ctx, telemetry.BlobWrite, err)
	}
	return n, err
}

// Open counts failures.
func (c countedBlobs) Open(ctx context.Context, key string) (io.ReadSeekCloser, error) {
	content, err := c.Store.Open(ctx, key)
	c.count(ctx, telemetry.BlobRead, err)
	return content, err
}

// Delete counts failures.
func (c countedBlobs) Delete(ctx context.Context, keys ...string) error {
	err := c.Store.Delete(ctx, keys...)
	c.count(ctx, telemetry.BlobDelete, err)
	return err
}

// DeleteAll counts failures.
func (c countedBlobs) DeleteAll(ctx context.Context, prefix string) error {
	err := c.Store.DeleteAll(ctx, prefix)
	c.count(ctx, telemetry.BlobDelete, err)
	return err
}

// List counts failures.
func (c countedBlobs) List(ctx context.Context, prefix string, before time.Time) ([]string, error) {
	keys, err := c.Store.List(ctx, prefix, before)
	c.count(ctx, telemetry.BlobRead, err)
	return keys, err
}

// measureAPI adds the metrics of an API process.
func (s *shared) measureAPI(hub *service.Hub) {
	most := int64(s.cfg.MaxSyncWaits)
	s.metrics.ForAPI(telemetry.API{
		QueueNames: s.cfg.Queues.Names(), Queues: s.queueStats, Sessions: s.store.CountSessions, Tenants: s.store.TenantSums, Runners: s.store.Runners, Webhooks: s.store.PendingHooks,
		Open: func() map[string]telemetry.Open {
			all := make(map[string]telemetry.Open)
			for kind, n := range hub.Open() {
				all[kind] = telemetry.Open{Now: n, Most: most}
			}
			return all
		},
		BodyMemory: func() telemetry.Open { return telemetry.Open{Now: hub.BodyBytes(), Most: s.cfg.BodyMemory} },
	})
}

// measureRunner adds the metrics of a runner.
func (s *shared) measureRunner(self job.Runner, r interface {
	Active() int
	Sessions() int
	Draining() bool
	Unhealthy() string
}, parked func() map[string]int,
) {
	runtimes := make([]string, len(self.Runtimes))
	for i, rt := range self.Runtimes {
		runtimes[i] = rt.Name
	}
	s.metrics.ForRunner(telemetry.Runner{
		Queues: slices.Clone(self.Queues), Runtimes: runtimes, Concurrency: self.Concurrency, MaxSessions: self.MaxSessions,
		Sandbox: self.Sandbox, MemoryControl: self.MemoryControl,
		Active: r.Active, Sessions: r.Sessions, Draining: r.Draining, Sick: r.Unhealthy, Parked: parked,
	})
}
