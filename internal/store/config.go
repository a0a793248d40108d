package store

import (
	"context"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// RunnerTTL is the default of Config.RunnerTTL.
const RunnerTTL = 8 * time.Second

// Config has the store's lifetimes and bounds. The zero value of a field means its default.
type Config struct {
	TombstoneTTL   time.Duration // time after a record's end during which 410 is answered instead of 404; 1 h
	IdempotencyTTL time.Duration // 24 h
	// OutboxDelay is the time after a job's creation at which the maintenance loop enqueues it,
	// unless it was confirmed as enqueued; 5 s.
	OutboxDelay time.Duration
	// RunnerTTL is the life of a runner without a heartbeat, and of the lease of an API process
	// with waiting callers; 8 s.
	RunnerTTL time.Duration
	// KeepLeased is how long Lapsed keeps the list of those that have a lease. It is at most the shortest
	// RunnerTTL of all processes of the Redis; 0 is not at all.
	KeepLeased time.Duration
	// MaxDepth is the largest number of waiting jobs on one queue, MaxCallerDepth that of one
	// caller on all queues; 0 is no limit.
	MaxDepth, MaxCallerDepth int
	// MaxCallerBytes is the largest number of bytes of the records of one caller, results
	// included, until they expire. 0 is half of Redis' memory if that is bounded, or all of it
	// with OneCaller.
	MaxCallerBytes int64
	OneCaller      bool
	// MaxFiles is the largest number of bytes of all files in the blob store, and MaxCallerFiles
	// that of one caller. 0 is no limit; for the latter it is the number that is free then, or
	// all with OneCaller.
	MaxFiles, MaxCallerFiles int64
	// EventBytes is the largest number of bytes of events that a runner keeps of an attempt; 8 MiB.
	EventBytes int
	// Window is the largest number of jobs of one caller on one of asynq's queues at once; 32.
	Window int
	// Reserve is the number of slots of the runners that a caller's jobs leave to those of
	// others: a number, or ReserveAuto for an eighth of them, at least one. Empty is no bound.
	Reserve string
	// MaxMetadata is the largest size of a job's metadata, in bytes.
	MaxMetadata int64
	// HookTTL is the longest life of a record for the delivery of its webhook; 25 h.
	HookTTL time.Duration
	// MaxCallerSessions is the largest number of live sessions of a caller; 0 is no limit.
	MaxCallerSessions int
	// Named are tenants with metrics of their own.
	Named []string
	// MaxCallerSessionMemory and MaxCallerSessionDisk are the bytes that the live sessions of a caller may take together, by their
	// limits; 0 is no limit.
	MaxCallerSessionMemory, MaxCallerSessionDisk int64
	// MaxCallerSchedules is the largest number of schedules of a caller; 0 is no limit.
	MaxCallerSchedules int
	// MaxCallerVolumes is the largest number of volumes of a caller; 0 is no limit.
	MaxCallerVolumes int
	// VolumeTTL is the time after its last use for which a volume is kept; 0 is forever.
	VolumeTTL time.Duration
	// EvictAfter is the idle time after which a session may be evicted for another when all
	// runners are full; 0 is never.
	EvictAfter time.Duration
	// UsageTTL is the time for which figures of usage are kept; with 0 none are counted.
	UsageTTL time.Duration
	// Schema is the version of the records.
	Schema SchemaConfig
	// Enqueue returns the commands that enqueue a job's task, for the step that records the job.
	// It returns nil if that is impossible. By default there are none.
	Enqueue func(ctx context.Context, j job.Job) [][]any
}

// ReserveAuto is a Reserve that grows with the fleet.
const ReserveAuto = "auto"

// maxSessionDepth is the largest number of waiting executions in one session.
const maxSessionDepth = 10_000

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, byDefault time.Duration) {
		if *d == 0 {
			*d = byDefault
		}
	}
	set(&c.TombstoneTTL, time.Hour)
	set(&c.IdempotencyTTL, 24*time.Hour)
	set(&c.OutboxDelay, 5*time.Second)
	set(&c.RunnerTTL, RunnerTTL)
	set(&c.HookTTL, 25*time.Hour)
	if c.EventBytes == 0 {
		c.EventBytes = 8 << 20
	}
	if c.Window == 0 {
		c.Window = 32
	}
	c.Schema = c.Schema.withDefaults()
	return c
}

// observeLease is the time within which an observer has to call again; then the log of accepted
// executions ends.
const observeLease = time.Minute
