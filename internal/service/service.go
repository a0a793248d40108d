// Package service is what callers can have done, whichever protocol they speak: submit,
// execute, watch, follow, cancel and list jobs; open sessions and operate on them; put, read
// and remove files. A dialect translates its protocol onto these methods.
//
// Every method that concerns something of a caller takes the Caller as an argument. Errors are
// those of package job and of errors.go; each dialect words them in one table. The package
// knows neither HTTP nor Redis: what it needs of the store, the queue and the blobs it declares
// as interfaces in ports.go.
package service

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// Config are the parts and bounds of a Service.
type Config struct {
	Records   Records
	Lookup    Lookup
	Fleet     Fleet
	Sessions  Sessions
	Queue     Queue
	Events    Events
	Notifier  Notifier
	Observers Observers
	Commands  Commands
	Batches   Batches
	Archives  Archives
	Files     Files
	Packages  Packages
	Blobs     Blobs
	Keys      Keys
	Schedules Schedules
	Usage     Usage
	Hub       *Hub

	Operations    Operations
	Lists         TaskLists
	Confirmations Confirmations
	// Settings are the settings of the process, without secrets.
	Settings []Setting

	// Keyring has the keys that are valid at this process; nil if callers need none.
	Keyring *access.Keyring
	// Submitted is called for each job that was recorded, with its queue.
	Submitted func(queue string)
	Log       *slog.Logger

	Limits job.Limits
	// BatchLimits are the bounds of batches.
	BatchLimits job.BatchLimits
	// Shared: there are several callers, who share what there is.
	Shared        bool
	SyncQueueWait time.Duration // how long a synchronous job may wait for a runner
	PackagesWait  time.Duration // how much longer it may if packages may have to be installed for it
	MaxSyncWaits  int           // synchronous calls, and long polls, that may wait at once; 0 is no limit
	BodyMemory    int64         // bytes of request bodies that may be held at once; 0 is no limit
	// Answers bounds the memory of large results; nil is no limit.
	Answers *job.Memory
	// Allow counts a request of a caller, and of a key with a rate of its own, and says whether it may
	// pass; nil lets all.
	Allow func(ctx context.Context, caller, key string, own job.RateLimit) (job.Rate, error)
	// Background counts what requests leave to be done. The app waits for it before it
	// closes Redis.
	Background *sync.WaitGroup
	// Draining is closed when the process is about to stop: long polls and streams end.
	Draining <-chan struct{}
	// Unfit returns why the process may not work on the records; nil if it may. It may be nil itself.
	Unfit func() error
}

// Service is safe for concurrent use. It owns no goroutine that outlives Config.Background.
type Service struct {
	cfg      Config
	runtimes *runtimeNames
	fetches  chan struct{} // has room for followers that read at once
}

// New returns the service of a process.
func New(cfg Config) *Service {
	cfg.Hub.share(cfg.Shared)
	return &Service{cfg: cfg, runtimes: newRuntimeNames(cfg.Fleet), fetches: make(chan struct{}, fetchesAtOnce)}
}

// Shared reports whether there are several callers.
func (s *Service) Shared() bool { return s.cfg.Shared }

// Limits are the bounds of requests.
func (s *Service) Limits() job.Limits { return s.cfg.Limits }

// LimitsOf are the bounds of the requests of a caller: those of its key, where they are lower.
func (s *Service) LimitsOf(c Caller) job.Limits { return s.cfg.Limits.For(c.limits()) }

// Draining is closed when the process is about to stop.
func (s *Service) Draining() <-chan struct{} { return s.cfg.Draining }

// Allow counts a request of a caller against its rate and its key's.
func (s *Service) Allow(ctx context.Context, c Caller) (job.Rate, error) {
	if s.cfg.Allow == nil {
		return job.Rate{Allowed: true}, nil
	}
	return s.cfg.Allow(ctx, c.ID(), c.Digest[:min(len(c.Digest), idLength)], c.limits().RateOf())
}
