package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/kaa-run/kaa/internal/api"
	"github.com/kaa-run/kaa/internal/app/config"
	"github.com/kaa-run/kaa/internal/console"
	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/dialect/e2b"
	"github.com/kaa-run/kaa/internal/door"
	"github.com/kaa-run/kaa/internal/runner"
	"github.com/kaa-run/kaa/internal/service"
	"github.com/kaa-run/kaa/internal/store"
	"github.com/kaa-run/kaa/internal/telemetry"
	"github.com/kaa-run/kaa/internal/webhook"
)

// RunAPI runs the API process until ctx ends, then drains it.
func RunAPI(ctx context.Context, p Process) error {
	s, err := p.setup(ctx, "api")
	if err != nil {
		return err
	}
	front, err := s.openFront(ctx)
	if err != nil {
		return errors.Join(err, s.close())
	}
	p.listening(front.listener.Addr())
	if err := s.awaitRecords(ctx, 0); err != nil {
		return errors.Join(unlessStopped(ctx, err), front.close(), s.close())
	}
	ctx, stopWatch := s.watchSchema(ctx)
	defer stopWatch()
	a, err := s.startAPI(ctx, front)
	if err != nil {
		return errors.Join(err, front.close(), s.close())
	}
	s.log.InfoContext(ctx, "listening", slog.String("addr", a.listener.Addr().String()))
	p.ready(a.listener.Addr())
	failed := a.wait(ctx)
	stages := append(a.stages(), stage{"redis", time.Second, func(context.Context) error { return s.close() }})
	return errors.Join(failed, s.shutDown(ctx, stages), s.schema.refused())
}

// APIHealthAddr is the address at which an API process answers health checks.
func APIHealthAddr(c config.Config) string { return c.Addr }

// connectionsTime is how long a stop may take to cancel the jobs of callers that it cut off.
const connectionsTime = 5 * time.Second

// webhookStop is how long a stop waits for deliveries that are under way.
const webhookStop = 3 * time.Second

// scheduleStop is how long a stop waits for the run of a schedule that is being made.
const scheduleStop = 3 * time.Second

// archiveStop is how long a stop waits until an archive that is being written is given back.
const archiveStop = 3 * time.Second

// webhooks returns the deliverer of webhooks, not started yet. Only API processes have one. A
// runner executes untrusted code, so it should need no outgoing connections for other purposes.
func (s *shared) webhooks() *webhook.Deliverer {
	return webhook.New(webhook.Config{
		Records: s.store, Body: api.WebhookBody, BatchBody: api.BatchWebhookBody, Memory: s.answers, Observer: s.metrics, Log: s.log, UserAgent: "Kaa/" + Version(),
		AllowPrivate: s.cfg.WebhookAllowPrivate, Timeout: s.cfg.WebhookTimeout, RetryFor: s.cfg.WebhookRetryFor,
	})
}

// feeder returns the feeder of batches, not started yet. Only API processes have one: a record has the
// shares of its caller, which only they know.
func (s *shared) feeder(process string) *runner.Feeder {
	return runner.NewFeeder(runner.FeederConfig{
		Process: process, Batches: s.store, Enqueue: s.queue.Enqueue, Submitted: s.submitted, Log: s.log,
		Ahead: s.cfg.BatchAhead, ReceiveWithin: s.cfg.BatchReceiveTimeout,
	})
}

// apiProcess is the running HTTP side.
type apiProcess struct {
	cfg config.Config
	log *slog.Logger
	*front
	draining   chan struct{}
	requests   *sync.WaitGroup // running requests and the work that they left behind
	background []stage
	hurry      <-chan struct{}
}

// unlessStopped returns the error of a start; nil if the start failed because ctx was ended.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// startAPI makes the API and lets it answer the requests that arrive at the front.
func (s *shared) startAPI(ctx context.Context, front *front) (*apiProcess, error) {
	name, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("name this process: %w", err)
	}
	hub := service.NewHub(name.String())
	var finished *store.Listener
	err = s.insist(ctx, func() (err error) {
		finished, err = s.store.ListenFinished(ctx, hub.Subscriber, hub.Ended, hub.Missed)
		return err
	})
	if err != nil {
		return nil, err
	}
	keys, err := s.startKeys(ctx)
	if err != nil {
		return nil, errors.Join(err, finished.Close())
	}
	page, err := s.console()
	if err != nil {
		return nil, errors.Join(err, keys.close(ctx), finished.Close())
	}
	audit, endAudit, err := telemetry.NewAudit(s.cfg.AuditLog, s.stderr, s.cfg.LogFormat, s.log)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("KAA_AUDIT_LOG: %w", err), keys.close(ctx), finished.Close())
	}
	hooks := s.webhooks()
	feeder := s.feeder(hub.Subscriber)
	archiver := service.NewArchiver(api.WriteBatchResult, s.metrics, s.log)
	maintenance, err := s.startMaintenance(ctx, s.maintainer(""), map[string]func(){
		store.HooksDue: hooks.Due, store.BatchesDue: feeder.Due, store.ArchivesDue: archiver.Due,
	})
	if err != nil {
		endAudit()
		return nil, errors.Join(err, keys.close(ctx), finished.Close())
	}
	a := &apiProcess{cfg: s.cfg, log: s.log, front: front, draining: make(chan struct{}), requests: new(sync.WaitGroup), hurry: s.hurry}
	lease := service.NewCallLease(hub, s.store.Attend, s.log)
	lease.Start(ctx)
	hooks.Start(ctx)
	feeder.Start(ctx)
	notifier := s.store.NewEventNotifier(s.log)
	maintenance = append([]stage{{"feeder of batches", 2 * time.Second, feeder.Close}, {"webhooks", webhookStop, a.closing(hooks)}}, maintenance...)
	a.background = append(maintenance, stage{"lease", time.Second, func(context.Context) error { lease.Close(); return nil }},
		stage{"keys", 2 * keysEvery, keys.close}, stage{"events", time.Second, func(context.Context) error { notifier.Close(); return nil }},
		stage{"subscription", time.Second, func(context.Context) error { return finished.Close() }},
		stage{"audit log", 3 * time.Second, func(context.Context) error { endAudit(); return nil }})
	s.measureAPI(hub)

	limits := s.cfg.Limits()
	limits.Secrets = s.secrets.names
	core := service.New(service.Config{
		Records: countedEnds{s.store, s.metrics}, Lookup: s.store, Fleet: s.store, Sessions: s.store, Queue: s.queue, Batches: s.store, Archives: s.store, BatchLimits: s.cfg.BatchLimits(), Files: s.store, Packages: s.store, Blobs: countedBlobs{s.blobs, s.metrics},
		Operations: s.store, Confirmations: s.store, Lists: s.queue, Settings: settingsOf(&s.cfg),
		Events: s.store, Notifier: notifier, Observers: s.store, Commands: s.store, Hub: hub, Submitted: s.submitted, Log: s.log,
		Limits: limits, Shared: !s.cfg.OneCaller(), Keys: keys, Keyring: keys.keyring, Usage: s.store, Schedules: s.store,
		SyncQueueWait: s.cfg.SyncQueueWait, PackagesWait: s.cfg.PackagesTimeout, MaxSyncWaits: s.cfg.MaxSyncWaits, BodyMemory: s.cfg.BodyMemory, Answers: s.answers, Allow: s.rate,
		Background: a.requests, Draining: a.draining, Unfit: s.schema.refused,
	})
	scheduler := service.NewScheduler(core, s.periods.Schedules, s.log)
	scheduler.Start(ctx)
	archiver.Start(ctx, core)
	a.background = append([]stage{
		{"archives", archiveStop, func(context.Context) error { archiver.Close(); return nil }},
		{"schedules", scheduleStop, func(context.Context) error { scheduler.Close(); return nil }},
	}, a.background...)
	ports := s.cfg.PortHosts()
	own := api.New(api.Config{
		Ports: ports, TrafficThing: e2b.TrafficThing,
		Service: core, Console: page, BasePath: s.cfg.BasePath, Warnings: s.check.Warnings, Observer: s.metrics, Metrics: s.metrics.Handler(), Log: s.log,
		MaxFrameBytes: s.cfg.MaxBodyBytes, SlowestWrite: slowestWrite, Version: Version(),
	})
	entrance := door.New(door.Config{
		Service: core, Observer: s.metrics, Log: s.log, NoAccessLog: !s.cfg.AccessLog, Audit: audit, AuditExecutions: s.cfg.AuditExecutions,
		Keys: keys.keyring, Tokens: keys.judge(), BasePath: s.cfg.BasePath,
		Origins: s.cfg.AllowedOrigins, CheckHost: s.cfg.ChecksHost(), Hosts: withPorts(s.cfg.AllowedHosts, ports),
		MaxBodyBytes: s.cfg.MaxBodyBytes, MaxFileBytes: s.cfg.MaxFileUploadBytes, MaxLongBytes: s.cfg.MaxBatchBytes, MaxRequests: maxRequests(&s.cfg), Answers: s.answers, Background: a.requests,
	})
	parts := dialect.Parts{Service: core, Log: s.log, Version: Version(), BasePath: s.cfg.BasePath, Issuer: s.cfg.Issuer, Scopes: s.scopesOfTokens(), PortsDomain: ports.Domain()}
	front.answer(withPortHosts(entrance, own, ports, mounted(entrance, own, parts, s.dialects)))
	return a, nil
}

// console is the page for browsers; nil if it is switched off.
func (s *shared) console() (http.Handler, error) {
	if !s.cfg.Console {
		return nil, nil //nolint:nilnil // api.Config takes nil for none
	}
	return console.New(s.cfg.BasePath)
}

func plain(secrets []config.Secret) []string {
	all := make([]string, len(secrets))
	for i, s := range secrets {
		all[i] = string(s)
	}
	return all
}

// wait returns nil when ctx ends, or an error when serving ends.
func (a *apiProcess) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-a.served: // never nil, because the server was not asked to stop
		return fmt.Errorf("serve: %w", err)
	}
}

// stages stop the HTTP side. First it reports that it is not ready, so that load balancers send
// requests elsewhere. Then it answers the running requests. Then the parts that they needed are
// closed.
func (a *apiProcess) stages() []stage {
	return append([]stage{
		{"readiness", a.cfg.ShutdownDelay + time.Second, func(ctx context.Context) error {
			close(a.draining)
			select {
			case <-ctx.Done():
			case <-a.hurry:
			case <-time.After(a.cfg.ShutdownDelay):
			}
			return nil
		}},
		{"http", a.cfg.DrainTimeout + time.Second, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, a.cfg.DrainTimeout)
			defer cancel()
			a.hurried(ctx, cancel)
			err := a.server.Shutdown(ctx)
			if err != nil && ctx.Err() != nil {
				a.log.WarnContext(ctx, "the time to drain is over: cutting callers off")
				return nil
			}
			return err
		}},
		// The remaining connections are cut off. Their jobs are cancelled as if the callers had
		// disconnected, which takes Redis.
		{"connections", connectionsTime, func(context.Context) error {
			err := a.server.Close()
			a.requests.Wait()
			return err
		}},
	}, a.background...)
}

// closing stops the deliveries. Once hurry is closed, deliveries under way are given back at once.
func (a *apiProcess) closing(hooks *webhook.Deliverer) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		a.hurried(ctx, cancel)
		return hooks.Close(ctx)
	}
}

// hurried calls cancel, which ends ctx, once hurry is closed.
func (a *apiProcess) hurried(ctx context.Context, cancel context.CancelFunc) {
	go func() {
		select {
		case <-a.hurry:
			cancel()
		case <-ctx.Done():
		}
	}()
}
