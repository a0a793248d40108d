package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/app/config"
	"github.com/kaa-run/kaa/internal/app/redisclient"
	"github.com/kaa-run/kaa/internal/blob"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/queue"
	"github.com/kaa-run/kaa/internal/store"
	"github.com/kaa-run/kaa/internal/telemetry"
)

const (
	// redisStartTime is how long a start repeats commands that Redis refuses or does not answer.
	redisStartTime = 10 * time.Second
	// saveFor is how long a runner tries to write the end of a job.
	saveFor = 5 * time.Minute
	// warnEvery is the least time between two warnings that a start waits for Redis.
	warnEvery = 5 * time.Second
)

// shared are the parts that every process has.
type shared struct {
	cfg     config.Config
	stderr  io.Writer
	log     *slog.Logger
	metrics *telemetry.Metrics
	redis   *redis.UniversalOptions
	rdb     redis.UniversalClient
	check   *redisclient.Check
	schema  schemaWatch
	store   *store.Store
	queue   *queue.Client
	blobs   *blob.Store
	answers *job.Memory // the memory of results that are being answered
	flow    *flow       // what it adds to the samples of the fleet
	secrets *secretFeed
	periods Periods
	// dialects are protocols besides Kaa's own.
	dialects []Dialect
	hurry    <-chan struct{} // see Process.Hurry
}

// close closes the connections that every process has. It is called last.
func (s *shared) close() error {
	s.secrets.close()
	return errors.Join(s.blobs.Close(), s.rdb.Close())
}

// awaitRedis waits until Redis accepts writes. within bounds the wait; 0 means no limit. For errors
// that waiting does not mend, the wait is redisStartTime at most.
func (s *shared) awaitRedis(ctx context.Context, within time.Duration) error {
	begun, warned := time.Now(), time.Time{}
	var last error // the last error that has a reason
	for {
		err := s.readyWithin(ctx, redisStartTime)
		if err == nil {
			s.check.Warnings(ctx)
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if last == nil || !redisclient.IsOver(err) {
			last = err
		}
		advice := redisclient.Advice(last, s.redis.TLSConfig != nil)
		limit := within
		if redisclient.IsHopeless(last) {
			limit = redisStartTime
		}
		if took := time.Since(begun); limit > 0 && took >= limit {
			if advice != "" {
				advice = "; " + advice
			}
			return fmt.Errorf("connect to Redis (KAA_REDIS_URL): %w%s", last, advice)
		}
		if time.Since(warned) >= warnEvery {
			warned = time.Now()
			s.log.WarnContext(ctx, "waiting for Redis", slog.Any("err", last), slog.String("advice", advice))
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (s *shared) readyWithin(ctx context.Context, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return s.store.Ready(ctx)
}

// insist repeats a step of the start while Redis does not answer, because a broken connection is no
// reason to give up.
func (s *shared) insist(ctx context.Context, step func() error) error {
	ctx, cancel := context.WithTimeout(ctx, redisStartTime)
	defer cancel()
	for {
		err := step()
		if !errors.Is(err, job.ErrUnavailable) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
			s.log.WarnContext(ctx, "start: will try again", slog.Any("err", err))
		}
	}
}

// reclaim puts tasks of lost runners back on their queues.
func (s *shared) reclaim(ctx context.Context) error {
	n, err := s.queue.Reclaim(ctx, s.cfg.Queues.Names()...)
	if n > 0 {
		s.log.WarnContext(ctx, "tasks of a lost runner are on their queues again", slog.Int("tasks", n))
	}
	return err
}

// rate counts a request against the rate of each caller and that of its key, where there are such.
func (s *shared) rate(ctx context.Context, caller, key string, own job.RateLimit) (job.Rate, error) {
	all := job.RateLimit{PerSecond: s.cfg.RateLimit, Burst: s.cfg.RateBurst}
	if all.PerSecond == 0 && own.PerSecond == 0 {
		return job.Rate{Allowed: true}, nil
	}
	return s.store.Rate(ctx, caller, all, key, own)
}
