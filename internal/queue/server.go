package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// defaultIdlePoll is long, because a parked server misses a task only if its wake
// token was lost.
const defaultIdlePoll = 5 * time.Second

// ErrServerClosed is what Start returns after Stop or Close.
var ErrServerClosed = errors.New("queue server is closed")

// Handler is called for each task that a server takes. Nil means that the queue is
// done with the task, whatever became of the job. An error means trouble of the
// infrastructure before the code could start: the task comes again, to this server
// or another, after a short pause and as often as it takes. With job.ErrNoWorker, of a
// server that is paused, it goes back to its old place, for another. With job.ErrPaused, of a
// paused queue, it goes back, too, and waits there. With a job.PreparingError it comes again once that is done.
//
// ctx ends at the task's timeout, when Close hands the task back, or when the
// server lost its lease on it. asynq then gives the slot to another task, so the
// handler must return promptly.
type Handler func(ctx context.Context, t job.Task) error

// ServerConfig has the parts of a Server. Redis, Blocking and Log stay the caller's.
type ServerConfig struct {
	// Redis is used by this server alone: it gets the gate's hook.
	Redis redis.UniversalClient
	// Blocking is for the gate's BLPOP, which holds one connection.
	Blocking redis.UniversalClient
	// Queues are the queues to take from, with their weights. A queue of weight 6 comes first
	// six times as often as one of weight 1.
	Queues map[string]int
	// Concurrency is the number of tasks that are handled at once.
	Concurrency int
	// ShutdownTimeout is the time for which Close lets handlers finish before it hands their
	// tasks back. 0 means asynq's 8 s.
	ShutdownTimeout time.Duration
	// IdlePoll is the time for which the gate parks before it checks for tasks without a token,
	// in whole seconds. Default 5 s.
	IdlePoll time.Duration
	// Polling makes the server query Redis for tasks all the time instead of waiting for tokens.
	Polling bool
	Log     *slog.Logger
}

// Server takes tasks off queues. Start it once; Close it always, also after Stop.
type Server struct {
	cfg     ServerConfig
	names   []string // of the queues, the heaviest first
	gate    *gate
	inspect *asynq.Inspector
	handler Handler
	tasks   *inflight

	stopped    chan struct{}  // closed when asynq takes no more tasks
	drained    chan struct{}  // closed when none of Kaa's asynq servers runs any more
	closed     chan struct{}  // closed when no goroutine of the server runs any more
	background sync.WaitGroup // goroutines of ours, but the gate's
	doubts     atomic.Bool    // a task may have been lost on its way; see doubtful

	mu       sync.Mutex
	servers  []*asynq.Server // the server's goroutines, except the gate's
	started  bool
	stopping bool
	closing  bool
}

// NewServer checks cfg and hooks the gate into cfg.Redis.
func NewServer(cfg ServerConfig) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("queue server: %w", err)
	}
	if cfg.IdlePoll == 0 {
		cfg.IdlePoll = defaultIdlePoll
	}
	cfg.Queues = maps.Clone(cfg.Queues)
	names := slices.SortedFunc(maps.Keys(cfg.Queues), func(a, b string) int {
		if d := cfg.Queues[b] - cfg.Queues[a]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	s := &Server{
		cfg:     cfg,
		names:   names,
		gate:    newGate(len(names), newRedisParker(cfg, names), cfg.Log),
		inspect: asynq.NewInspectorFromRedisClient(cfg.Redis),
		tasks:   newInflight(),
		stopped: make(chan struct{}),
		drained: make(chan struct{}),
		closed:  make(chan struct{}),
	}
	s.gate.doubtful = s.doubtful
	s.gate.polling = cfg.Polling
	cfg.Redis.AddHook(s.gate)
	return s, nil
}

// validate refuses values that asynq would silently replace by a default.
func (c ServerConfig) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Redis != nil, "Redis is missing")
	check(c.Blocking != nil, "Blocking is missing")
	check(c.Log != nil, "Log is missing")
	check(len(c.Queues) > 0, "Queues is empty")
	for name, weight := range c.Queues {
		check(strings.TrimSpace(name) != "", "Queues has a queue without a name")
		check(weight > 0, "queue %q has weight %d, it must be positive", name, weight)
	}
	check(c.Concurrency > 0, "Concurrency is %d, it must be positive", c.Concurrency)
	check(c.ShutdownTimeout >= 0, "ShutdownTimeout is %s", c.ShutdownTimeout)
	check(c.IdlePoll == 0 || c.IdlePoll >= time.Second, "IdlePoll is %s, it must be 1s or more", c.IdlePoll)
	return errors.Join(errs...)
}

// Start begins to take tasks. It does not need Redis to be up. Handlers get ctx's
// values but not its end: asynq would archive every running task when a signal
// ends ctx.
func (s *Server) Start(ctx context.Context, h Handler) error {
	if h == nil {
		return errors.New("start queue server: no handler")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopping:
		return ErrServerClosed
	case s.started:
		return errors.New("start queue server: already started")
	}
	s.started = true
	s.handler = h
	interval := gatedInterval
	if s.cfg.Polling {
		interval = pollInterval
	}
	if err := s.run(ctx, interval); err != nil {
		return err
	}
	select {
	case <-s.gate.recognised: // asynq's first dequeue, even if Redis is down
		return nil
	case <-s.gate.foreign:
	case <-time.After(recogniseTimeout):
	}
	return s.fallBack(ctx)
}

// fallBack replaces the asynq server, whose polling the gate cannot slow down, by
// one that polls at a bearable rate. Called with mu held.
func (s *Server) fallBack(ctx context.Context) error {
	s.cfg.Log.Error("queue: asynq's dequeue script is not the one that the wake gate knows; "+
		"polling Redis instead, which costs hundreds of commands a second: update internal/queue to this asynq",
		slog.Duration("interval", pollInterval))
	s.gate.passive.Store(true)
	old := s.servers[len(s.servers)-1]
	old.Stop()
	// Tasks that it has taken meanwhile may end in their own time.
	s.background.Go(old.Shutdown)
	return s.run(ctx, pollInterval)
}

func (s *Server) run(ctx context.Context, interval time.Duration) error {
	srv := s.newAsynq(ctx, interval)
	if err := srv.Start(asynq.HandlerFunc(s.process)); err != nil {
		return fmt.Errorf("start asynq: %w", err)
	}
	s.servers = append(s.servers, srv)
	return nil
}

// Stop makes the server take no more tasks; running ones go on. It may be called again, and
// returns promptly even if the server waits for Redis. Then a task that Redis is just handing
// out may still be taken.
func (s *Server) Stop() {
	s.gate.stop()
	s.mu.Lock()
	if !s.stopping {
		s.stopping = true
		servers := slices.Clone(s.servers)
		s.background.Go(func() {
			defer close(s.stopped)
			for _, srv := range servers {
				srv.Stop()
			}
		})
	}
	s.mu.Unlock()
	select {
	case <-s.stopped:
	case <-time.After(stopDelay):
	}
}

// Pause makes the server take no tasks until Resume, because its process cannot handle them now
// and others can. A task that Redis is just handing out may still be taken.
func (s *Server) Pause() { s.gate.pause() }

// Resume ends a Pause.
func (s *Server) Resume() { s.gate.resume() }

// Close stops the server, waits ShutdownTimeout for its handlers, hands back the
// tasks of those that overran, and waits until they have returned too. If ctx ends
// first it returns an error, and the rest goes on in the background. It may be
// called again, and then waits for the same end.
func (s *Server) Close(ctx context.Context) error {
	s.Stop()
	s.mu.Lock()
	if !s.closing {
		s.closing = true
		go s.shutDown(slices.Clone(s.servers))
	}
	s.mu.Unlock()
	select {
	case <-s.closed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close queue server: %w", context.Cause(ctx))
	}
}

// shutDown is the second half of Close. The order matters: asynq puts overrun tasks back before
// it cancels their handlers, and they need a wake token after that. Tasks that are put back must
// not wait for a handler that is slow to return.
func (s *Server) shutDown(servers []*asynq.Server) {
	defer close(s.closed)
	overrun := s.tasks.counts()
	begin := time.Now()
	for _, srv := range servers {
		srv.Shutdown() // returns at once for one that has been shut down
	}
	if time.Since(begin) >= s.shutdownTimeout() {
		s.wakeAll(overrun)
	}
	close(s.drained)
	s.tasks.wait()
	s.background.Wait()
	s.gate.goroutine.Wait()
}

// wakeAll wakes other servers for tasks that were put back.
func (s *Server) wakeAll(counts map[string]int) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	for queue, n := range counts {
		if err := wake(ctx, s.cfg.Redis, queue, n); err != nil {
			s.cfg.Log.Warn("queue: tasks were handed back, but no other server was woken",
				slog.String("queue", queue), slog.Any("err", err))
		}
	}
}
