package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/app/config"
	"github.com/kaa-run/kaa/internal/app/redisclient"
	"github.com/kaa-run/kaa/internal/blob"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/queue"
	"github.com/kaa-run/kaa/internal/runner"
	"github.com/kaa-run/kaa/internal/store"
	"github.com/kaa-run/kaa/internal/telemetry"
)

// webhookMargin is how long a record outlives the attempts of its webhook, so that the last attempt
// still finds the record.
const webhookMargin = time.Hour

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
	options, err := config.RedisOptions(&cfg)
	if err != nil {
		return nil, err
	}
	build := ThisBuild()
	s := &shared{
		cfg: cfg, log: log, stderr: p.Stderr, metrics: telemetry.NewMetrics(build.Version, build.Commit), redis: options, rdb: redisclient.Connect(*options, "data"),
		periods: p.Periods, dialects: p.Dialects, hurry: p.Hurry,
	}
	s.rdb.AddHook(redisMetrics{s.metrics})
	handling := cfg.KillGrace + saveFor
	s.queue = queue.NewClient(s.rdb, handling)
	if cfg.Plain.Has(config.PlainEnqueue) {
		s.queue = queue.NewPlainClient(s.rdb, handling)
	}
	s.store = store.New(s.rdb, store.Config{
		RunnerTTL: p.Periods.Lease, KeepLeased: store.RunnerTTL, TombstoneTTL: cfg.TombstoneTTL, IdempotencyTTL: cfg.IdempotencyTTL,
		MaxDepth: cfg.MaxQueueDepth, MaxCallerDepth: cfg.MaxQueueDepthPerKey, MaxCallerBytes: cfg.MaxStoredPerKey, OneCaller: cfg.OneCaller(), Window: cfg.FairWindow, Reserve: cfg.Reserve(),
		EventBytes: cfg.EventBytes, MaxFiles: cfg.FileSpace(), MaxCallerFiles: cfg.MaxFilesPerKey, MaxMetadata: int64(cfg.MaxMetadataBytes), HookTTL: cfg.WebhookRetryFor + webhookMargin, MaxCallerSessions: cfg.MaxSessionsPerKey, EvictAfter: cfg.SessionEvictAfter,
		MaxCallerSessionMemory: cfg.MaxSessionMemory, MaxCallerSessionDisk: cfg.MaxSessionDisk,
		UsageTTL: cfg.UsageTTL, Named: cfg.MetricsTenants, MaxCallerSchedules: cfg.MaxSchedulesPerKey, MaxCallerVolumes: cfg.MaxVolumesPerKey, VolumeTTL: cfg.VolumeTTL,
		Schema:  ownSchema(),
		Enqueue: func(ctx context.Context, j job.Job) [][]any { return s.queue.EnqueueCommands(ctx, j.Task()) },
	})
	s.flow = newFlow(p.Periods.Samples, s.store.AddToSamples, log)
	if s.blobs, err = blob.New(cfg.BlobPlace(), p.Buckets); err != nil {
		return nil, errors.Join(fmt.Errorf("KAA_BLOB_URL: %w", err), s.rdb.Close())
	}
	s.check = redisclient.NewCheck(s.rdb, log)
	s.announce(ctx, p.Environ)
	s.budget(ctx, p.Environ, process)
	s.answers = job.NewMemory(s.cfg.AnswerMemory)
	if err := s.startSecrets(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// startCleaner begins to delete the blobs of jobs that have expired.
func (s *shared) startCleaner(ctx context.Context) stage {
	c := runner.NewCleaner(s.store, countedBlobs{s.blobs, s.metrics}, s.periods.Periods, s.log)
	c.Start(ctx)
	return stage{"cleaner", 2 * time.Second, func(context.Context) error { c.Close(); return nil }}
}

// maintainer returns the maintainer of a process, not started yet. self is the id of the process's
// runner; empty if it has none.
func (s *shared) maintainer(self string) *runner.Maintainer {
	return runner.NewMaintainer(self, s.store, countedEnds{s.store, s.metrics}, s.queue.Enqueue, s.reclaim, s.periods.Periods, s.log)
}

// startMaintenance starts the maintenance of a process and returns its stages. announced has what else
// is to be called when something is announced to be due.
func (s *shared) startMaintenance(ctx context.Context, m *runner.Maintainer, announced map[string]func()) ([]stage, error) {
	var due *store.Listener
	err := s.insist(ctx, func() (err error) {
		due, err = s.store.ListenDue(ctx, func(what string) {
			call, ok := announced[what]
			switch {
			case ok:
				call()
			case what != store.HooksDue && what != store.BatchesDue && what != store.ArchivesDue: // the API's
				m.OutboxChanged()
			}
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	m.Start(ctx)
	r := runner.NewReconciler(s.cfg.Queues.Names(), s.store, s.queue, s.metrics.Reconciled, s.periods.Periods, s.log)
	r.Also(s.sample)
	r.Start(ctx)
	s.flow.start(ctx)
	return []stage{
		{"counts", time.Second, s.flow.close},
		s.startCleaner(ctx),
		{"reconciler", 2 * time.Second, func(context.Context) error { r.Close(); return nil }},
		{"outbox subscription", time.Second, func(context.Context) error { return due.Close() }},
		{"maintenance", 2 * time.Second, func(context.Context) error { m.Close(); return nil }},
	}, nil
}

func newLog(cfg config.Config, w io.Writer) *slog.Logger {
	return telemetry.NewLog(w, cfg.LogLevel, cfg.LogFormat)
}
