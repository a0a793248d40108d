package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/kaa-run/kaa/internal/api"
	"github.com/kaa-run/kaa/internal/app/config"
	"github.com/kaa-run/kaa/internal/app/interpreters"
	"github.com/kaa-run/kaa/internal/app/redisclient"
	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/queue"
	"github.com/kaa-run/kaa/internal/runner"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/service"
	"github.com/kaa-run/kaa/internal/store"
)

const (
	// endTime is how long an execution may take to end after its interruption, besides the grace
	// before SIGKILL: the runner collects the output and writes the end.
	endTime = 3 * time.Second
)

// RunRunner runs a runner process until ctx ends, then drains it.
func RunRunner(ctx context.Context, p Process) error {
	s, err := p.setup(ctx, "runner")
	if err != nil {
		return err
	}
	health, err := s.serveHealth(ctx)
	if err != nil {
		return errors.Join(err, s.close())
	}
	p.listening(health.addr())
	if err := s.awaitRecords(ctx, 0); err != nil {
		return errors.Join(unlessStopped(ctx, err), health.close(context.WithoutCancel(ctx)), s.close())
	}
	ctx, stopWatch := s.watchSchema(ctx)
	defer stopWatch()
	r, err := s.startRunner(ctx)
	if err != nil {
		return errors.Join(err, health.close(context.WithoutCancel(ctx)), s.close())
	}
	able := r.health.ready
	health.able.Store(&able)
	p.ready(health.addr())
	<-ctx.Done()
	stages := append(r.stages(),
		stage{"health", time.Second, health.close},
		stage{"redis", time.Second, func(context.Context) error { return s.close() }})
	return errors.Join(s.shutDown(ctx, stages, slog.Int("active", r.runner.Active())), s.schema.refused())
}

// RunnerHealthAddr is the address at which a runner process answers health checks; empty if it
// does not.
func RunnerHealthAddr(c config.Config) string { return c.RunnerAddr }

// runnerProcess is the running execution side.
type runnerProcess struct {
	cfg        config.Config
	pool       *interpreter.Pool
	runner     *runner.Runner
	server     *queue.Server
	health     *runnerHealth
	background []stage
	hurry      <-chan struct{}
	log        *slog.Logger
}

// startRunner starts the parts in the order of their dependencies: interpreters, registration, and
// the queue last, because it brings the jobs.
func (s *shared) startRunner(ctx context.Context) (_ *runnerProcess, err error) {
	var undo []stage
	defer func() {
		if err != nil {
			err = errors.Join(err, drain(ctx, s.log, undo))
		}
	}()
	health := new(runnerHealth)
	pool, missing, err := s.startPool(ctx, health.changed)
	if err != nil {
		return nil, err
	}
	closeTime := cmp.Or(s.periods.Interpreters, interpreters.CloseTime)
	undo = append(undo, stage{"interpreters", closeTime, pool.Close})
	installer, err := s.startPackages(pool)
	if err != nil {
		return nil, err
	}
	if installer != nil {
		undo = append([]stage{{"packages", closeTime, installer.Close}}, undo...)
	}
	self, err := s.describeRunner(pool, missing)
	if err != nil {
		return nil, err
	}
	maintainer := s.maintainer(self.ID)
	cfg := runner.Config{
		Self: self, Records: s.store, Registry: s.store, Workers: workers{pool}, Observer: executions{s.metrics, s.flow}, Events: s.store, EventBytes: s.cfg.EventBytes,
		Blobs: countedBlobs{s.blobs, s.metrics}, Room: s.store, Files: s.cfg.FileLimits(),
		Log: s.log.With(slog.String("runner", self.ID)), SaveFor: saveFor, Filled: maintainer.OutboxChanged,
		SessionRecords: s.store, Calls: s.store, CommandRecords: s.store, Volumes: s.store, SaveEvery: s.cfg.VolumeSaveEvery, Saved: s.metrics.Saved, Interpreters: sessionInterpreters{pool}, NoJobLog: !s.cfg.JobLog,
		Health: pool.Health, Parked: pool.Parked, Memory: func() (used, limit int64) { return sandbox.MemoryOf(os.DirFS("/")) }, DrainChanged: health.changed, StartPatience: s.cfg.StartPatience,
	}
	if installer != nil {
		cfg.Packages = installer
	}
	r := runner.New(cfg)
	s.measureRunner(self, r, pool.Parked)
	if err := s.insist(ctx, func() error { return r.Start(ctx) }); err != nil {
		return nil, err
	}
	undo = append([]stage{{"registration", 5 * time.Second, r.Close}}, undo...)
	var messages *store.Listener
	err = s.insist(ctx, func() (err error) {
		messages, err = s.store.ListenRunner(ctx, self.ID, r, s.log)
		return err
	})
	if err != nil {
		return nil, err
	}
	undo = append([]stage{{"subscription", time.Second, func(context.Context) error { return messages.Close() }}}, undo...)
	maintenance, err := s.startMaintenance(ctx, maintainer, nil)
	if err != nil {
		return nil, err
	}
	undo = append(maintenance, undo...)
	server, closeServer, err := s.startQueue(ctx, r)
	if err != nil {
		return nil, err
	}
	health.watch(pool, r, server)
	s.log.InfoContext(ctx, "taking jobs", slog.String("runner", self.ID), slog.Int("concurrency", self.Concurrency), slog.String("python", self.Python),
		slog.String("sandbox", self.Sandbox), slog.String("memory_control", self.MemoryControl))
	if self.Sandbox != string(sandbox.Strict) {
		s.log.WarnContext(ctx, "the sandbox is weaker than strict: see docs/security.md for the consequences", slog.String("sandbox", self.Sandbox))
	}
	return &runnerProcess{cfg: s.cfg, pool: pool, runner: r, server: server, health: health, hurry: s.hurry, log: s.log, background: append([]stage{closeServer}, undo...)}, nil
}

func (s *shared) describeRunner(pool *interpreter.Pool, missing []job.Layer) (job.Runner, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return job.Runner{}, fmt.Errorf("name this runner: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return job.Runner{}, fmt.Errorf("find host name: %w", err)
	}
	runtimes := pool.Runtimes()
	level, layers, control := pool.Sandbox()
	return job.Runner{
		ID: id.String(), Host: host, PID: os.Getpid(), Version: Version(), StartedAt: time.Now().UTC(),
		Concurrency: s.cfg.Concurrency, Queues: s.cfg.Queues.Names(), Python: runtimes[0].Version, Runtimes: runtimes,
		MaxSessions: s.cfg.MaxSessions, Lanes: true, Volumes: true, Egress: level == sandbox.Strict && len(s.cfg.EgressRules()) > 0, Sandbox: string(level), Layers: append(layers, missing...), MemoryControl: control,
	}, nil
}

// startQueue starts to take jobs. The returned stage closes the connections.
func (s *shared) startQueue(ctx context.Context, r *runner.Runner) (*queue.Server, stage, error) {
	// The server has two clients of its own: one gets the gate's hook, the other blocks. go-redis
	// must not repeat a dequeue without the gate, because a lost answer may have been a task. asynq
	// itself repeats its other commands.
	once := *s.redis
	once.MaxRetries = -1
	tasks, blocking := redisclient.Connect(once, "tasks"), redisclient.Connect(*s.redis, "wake")
	shutdown := s.cfg.DrainTimeout + s.cfg.KillGrace + endTime
	server, err := queue.NewServer(queue.ServerConfig{
		Redis: tasks, Blocking: blocking, Queues: s.cfg.Queues, Concurrency: s.cfg.Concurrency,
		ShutdownTimeout: shutdown, Log: s.log, Polling: s.cfg.Plain.Has(config.PlainGate),
	})
	if err == nil {
		tasks.AddHook(redisMetrics{s.metrics}) // after the gate's, whose waits would else count as Redis's time
		blocking.AddHook(redisMetrics{s.metrics})
		err = server.Start(ctx, func(ctx context.Context, t job.Task) error { return r.Handle(ctx, t.JobID, t.Runtime) })
	}
	if err != nil {
		return nil, stage{}, errors.Join(fmt.Errorf("start queue: %w", err), tasks.Close(), blocking.Close())
	}
	return server, stage{"queue connections", time.Second, func(context.Context) error {
		return errors.Join(tasks.Close(), blocking.Close())
	}}, nil
}

// stages stop the execution side. Jobs have the drain timeout to end by themselves; then they are
// interrupted. The interpreters are closed after the jobs. The parts that write the jobs' ends are
// closed last.
func (r *runnerProcess) stages() []stage {
	jobs := r.cfg.DrainTimeout + r.cfg.KillGrace + endTime + runner.SaveAtEnd + time.Second
	return append([]stage{
		{"taking jobs", 2 * time.Second, func(ctx context.Context) error {
			r.server.Stop()
			if err := r.runner.BeginDrain(ctx); err != nil {
				r.log.WarnContext(ctx, "draining was not announced", slog.Any("err", err)) // the drain does not depend on it
			}
			if err := r.runner.DrainSessions(ctx); err != nil {
				r.log.WarnContext(ctx, "sessions were not ended: will try again", slog.Any("err", err)) // Close tries again
			}
			return nil
		}},
		{"jobs", jobs, func(ctx context.Context) error {
			callOff := r.endLate(ctx)
			defer callOff()
			return errors.Join(r.server.Close(ctx), r.runner.AwaitSessions(ctx))
		}},
	}, r.background...)
}

// endLate interrupts the executions once the drain timeout is over or hurry is closed. The returned
// function calls that off.
func (r *runnerProcess) endLate(ctx context.Context) func() {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.DrainTimeout)
	go func() {
		select {
		case <-r.hurry:
		case <-ctx.Done():
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return
			}
		}
		r.runner.EndExecutions()
	}()
	return cancel
}

// workers hands out the pool's interpreters to the runner.
type workers struct{ pool *interpreter.Pool }

func (w workers) Acquire(ctx context.Context, runtime string) (runner.Worker, error) {
	worker, err := w.pool.Acquire(ctx, runtime)
	if err != nil {
		return nil, err // not worker: a nil *interpreter.Worker would be a runner.Worker that is not nil
	}
	return worker, nil
}

// sessionInterpreters hands out the pool's interpreters to sessions.
type sessionInterpreters struct{ pool *interpreter.Pool }

// sessionInterpreter adapts a session of package interpreter to package runner.
type sessionInterpreter struct{ *interpreter.Session }

func (b sessionInterpreter) Fork(ctx context.Context, count int) ([]runner.Interpreter, error) {
	copies, err := b.Session.Fork(ctx, count)
	all := make([]runner.Interpreter, len(copies))
	for i, c := range copies {
		all[i] = sessionInterpreter{c}
	}
	return all, err
}

func (b sessionInterpreter) Context(ctx context.Context, cwd string) (runner.Interpreter, error) {
	session, err := b.Session.Context(ctx, cwd)
	if err != nil {
		return nil, err
	}
	return sessionInterpreter{session}, nil
}

func (b sessionInterpreter) Restore(ctx context.Context) (runner.Interpreter, error) {
	session, err := b.Session.Restore(ctx)
	if err != nil {
		return nil, err
	}
	return sessionInterpreter{session}, nil
}

func (b sessionInterpreter) Renew(ctx context.Context) (runner.Interpreter, error) {
	session, err := b.Session.Renew(ctx)
	if err != nil {
		return nil, err
	}
	return sessionInterpreter{session}, nil
}

func (i sessionInterpreters) Open(ctx context.Context, spec job.SessionSpec) (runner.Interpreter, error) {
	session, err := i.pool.Session(ctx, spec)
	if err != nil {
		return nil, err
	}
	return sessionInterpreter{session}, nil
}

// healthServer serves a runner's health checks and metrics, if the runner has an address for them.
type healthServer struct {
	listener net.Listener
	server   *http.Server
	// able returns why the runner cannot execute jobs; nil until the runner has started.
	able atomic.Pointer[func() error]
}

func (s *shared) serveHealth(stopping context.Context) (*healthServer, error) {
	if s.cfg.RunnerAddr == "" {
		return &healthServer{}, nil
	}
	lis, err := listen(stopping, s.cfg.RunnerAddr, s.log)
	if err != nil {
		return nil, fmt.Errorf("listen on KAA_RUNNER_ADDR: %w", err)
	}
	h := &healthServer{listener: lis}
	ready := func(ctx context.Context) error {
		able := h.able.Load()
		switch {
		case s.schema.refused() != nil:
			return s.schema.refused()
		case stopping.Err() != nil:
			return service.ErrStopping
		case able == nil:
			return service.ErrStarting
		}
		return cmp.Or((*able)(), s.store.Ready(ctx))
	}
	h.server = &http.Server{Handler: api.Probes(ready, s.check.Warnings, s.metrics.Handler()), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := h.server.Serve(lis); !errors.Is(err, http.ErrServerClosed) {
			s.log.ErrorContext(stopping, "health server ended", slog.Any("err", err))
		}
	}()
	return h, nil
}

func (h *healthServer) addr() net.Addr {
	if h.listener == nil {
		return nil
	}
	return h.listener.Addr()
}

func (h *healthServer) close(ctx context.Context) error {
	if h.server == nil {
		return nil
	}
	return h.server.Shutdown(ctx)
}
