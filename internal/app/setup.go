package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/app/config"
	"github.com/kaa-run/kaa/internal/app/redisclient"
	"github.com/kaa-run/kaa/internal/blob"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/queue"
	"github.com/kaa-run/kaa/internal/runner"
	"github.com/kaa-run/kaa/internal/store"
	"github.com/kaa-run/kaa/internal/telemetry"
)

const (
	// redisStartTime is how long a start repeats commands that Redis refuses or does not answer.
	redisStartTime = 10 * time.Second
	// warnEvery is the least time between two warnings that a start waits for Redis.
	warnEvery = 5 * time.Second
)

// webhookMargin is how long a record outlives the attempts of its webhook, so that the last attempt
// still finds the record.
const webhookMargin = time.Hour

// shared are the parts that every process has.
type shared struct {
	cfg     config.Config
	log     *slog.Logger
	metrics *telemetry.Metrics
	redis   *redis.UniversalOptions
	rdb     redis.UniversalClient
	check   *redisclient.Check
	store   *store.Store
	queue   *queue.Client
	blobs   *blob.Store
	answers *job.Memory // the memory of results that are being answered
	periods Periods
	// dialects are protocols besides Kaa's own.
	dialects []Dialect
	hurry    <-chan struct{} // see Process.Hurry
}

// setup reads the configuration and makes the shared parts. It sends no command to Redis. process
// is the name of the process in the log.
func (p Process) setup(ctx context.Context, process string) (*shared, error) {
	cfg, err := config.Load(p.Environ)
	if err != nil {
		return nil, &configError{err}
	}
	log := newLog(cfg, p.Stderr).With(slog.String("process", process))
	if len(cfg.Unknown) > 0 {
		log.WarnContext(ctx, "these variables mean nothing to Kaa; see docs/configuration.md", slog.String("names", strings.Join(cfg.Unknown, ", ")))
	}
	if cfg.Open() {
		log.WarnContext(ctx, "KAA_ALLOW_ANONYMOUS: every client that reaches this address can run code", slog.String("addr", cfg.Addr))
		if len(cfg.AllowedHosts) == 0 {
			log.WarnContext(ctx, "without KAA_ALLOWED_HOSTS pages of any name that is made to point here can, too")
		}
	}
	if n := cfg.ShortKeys(); n > 0 {
		log.WarnContext(ctx, fmt.Sprintf("a key in KAA_API_KEYS or KAA_ADMIN_KEYS has fewer than %d characters, and can be guessed; make keys with: openssl rand -hex 32", config.ShortestKey),
			slog.Int("keys", n))
	}
	redisclient.SetLog(log)
	options, err := cfg.RedisOptions()
	if err != nil {
		return nil, err
	}
	build := ThisBuild()
	s := &shared{
		cfg: cfg, log: log, metrics: telemetry.NewMetrics(build.Version, build.Commit), redis: options, rdb: redisclient.Connect(*options, "data"),
		periods: p.Periods, dialects: p.Dialects, hurry: p.Hurry,
	}
	s.rdb.AddHook(redisMetrics{s.metrics})
	handling := cfg.KillGrace + saveFor
	s.queue = queue.NewClient(s.rdb, handling)
	if cfg.Plain.Has(config.PlainEnqueue) {
		s.queue = queue.NewPlainClient(s.rdb, handling)
	}
	s.store = store.New(s.rdb, store.Config{
		RunnerTTL: p.Periods.Lease, TombstoneTTL: cfg.TombstoneTTL, IdempotencyTTL: cfg.IdempotencyTTL,
		MaxDepth: cfg.MaxQueueDepth, MaxCallerDepth: cfg.MaxQueueDepthPerKey, MaxCallerBytes: cfg.MaxStoredPerKey, OneCaller: cfg.OneCaller(), Window: cfg.FairWindow, Reserve: cfg.Reserve(),
		EventBytes: cfg.EventBytes, MaxFiles: cfg.FileSpace(), MaxCallerFiles: cfg.MaxFilesPerKey, MaxMetadata: int64(cfg.MaxMetadataBytes), HookTTL: cfg.WebhookRetryFor + webhookMargin, MaxCallerSessions: cfg.MaxSessionsPerKey, EvictAfter: cfg.SessionEvictAfter,
		Enqueue: func(ctx context.Context, j job.Job) [][]any { return s.queue.EnqueueCommands(ctx, j.Task()) },
	})
	if s.blobs, err = blob.New(cfg.BlobPlace(), p.Buckets); err != nil {
		return nil, errors.Join(fmt.Errorf("KAA_BLOB_URL: %w", err), s.rdb.Close())
	}
	s.check = redisclient.NewCheck(s.rdb, log)
	s.announce(ctx, p.Environ)
	s.budget(ctx, p.Environ, process)
	s.answers = job.NewMemory(s.cfg.AnswerMemory)
	return s, nil
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

// maintainer returns the maintainer of a process, not started yet. self is the id of the process's
// runner; empty if it has none.
func (s *shared) maintainer(self string) *runner.Maintainer {
	return runner.NewMaintainer(self, s.store, countedEnds{s.store, s.metrics}, s.queue.Enqueue, s.reclaim, s.periods.Periods, s.log)
}

// startMaintenance starts the maintenance of a process and returns its stages. hooksDue, if not
// nil, is called when webhooks are due.
func (s *shared) startMaintenance(ctx context.Context, m *runner.Maintainer, hooksDue func()) ([]stage, error) {
	var due *store.Listener
	err := s.insist(ctx, func() (err error) {
		due, err = s.store.ListenDue(ctx, func(what string) {
			switch {
			case what != store.HooksDue:
				m.OutboxChanged()
			case hooksDue != nil:
				hooksDue()
			}
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	m.Start(ctx)
	r := runner.NewReconciler(s.cfg.Queues.Names(), s.store, s.queue, s.metrics.Reconciled, s.periods.Periods, s.log)
	r.Start(ctx)
	return []stage{
		s.startCleaner(ctx),
		{"reconciler", 2 * time.Second, func(context.Context) error { r.Close(); return nil }},
		{"outbox subscription", time.Second, func(context.Context) error { return due.Close() }},
		{"maintenance", 2 * time.Second, func(context.Context) error { m.Close(); return nil }},
	}, nil
}

// rate returns the rate limit of the API; nil if there is none.
func (s *shared) rate() func(context.Context, string) (job.Rate, error) {
	perSecond, burst := s.cfg.RateLimit, s.cfg.RateBurst
	if perSecond == 0 {
		return nil
	}
	return func(ctx context.Context, caller string) (job.Rate, error) {
		return s.store.Rate(ctx, caller, perSecond, burst)
	}
}

func newLog(cfg config.Config, w io.Writer) *slog.Logger {
	return telemetry.NewLog(w, cfg.LogLevel, cfg.LogFormat)
}
