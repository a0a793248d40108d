package interpreter

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/process"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// The errors callers branch on.
var (
	// ErrClosed: the pool or the worker was closed.
	ErrClosed = errors.New("interpreter is closed")
	// ErrUsed: the worker has served its one execution.
	ErrUsed = errors.New("worker was already used")
)

// The errors that say why no interpreter starts.
type (
	// LayerError names the layer of the sandbox that does not hold.
	LayerError = process.LayerError
	// PartError names another part that is missing.
	PartError = process.PartError
)

// The defaults of Config.
const (
	defaultPython       = "python3"
	defaultSize         = 1
	defaultGrace        = 2 * time.Second
	defaultStartTimeout = 20 * time.Second
)

// RuntimeConfig names an interpreter and the modules that it imports ahead of all jobs.
type RuntimeConfig struct {
	// Name is the runtime's name in requests. Default: python and its version, as python3.11.
	Name string
	// Python is the interpreter: a path, or a name to look up. Default python3.
	Python string
	// Preload are modules that the zygote imports. They are trusted.
	Preload []string
}

// The values of Config.Plain. docs/architecture/tricks.md describes each.
const (
	PlainMachineCode = "machine-code" // Python takes the steps of programs: see program.py
	PlainPages       = "pages"        // no mapping of the zygote is changed: see memory.py
	PlainBallast     = "ballast"      // the allocator alone places objects in memory: see start.py
	PlainFonts       = "fonts"        // each execution that imports matplotlib looks for fonts: see fonts.py
)

// Config configures how a pool makes and bounds workers. Zero values mean the defaults.
type Config struct {
	// Runtimes are the interpreters; the first is the default one. Default: python3.
	Runtimes []RuntimeConfig
	// Sandbox is the level of isolation. Default strict.
	Sandbox sandbox.Level
	// Size is the number of workers of the default runtime that the pool keeps parked. It
	// keeps half as many of each other runtime. Default 1.
	Size int
	// Dir is the parent of the private directories. Default os.TempDir().
	Dir string
	// Quota applies to executions without limits of their own.
	Quota job.Quota
	// MaxQuota is the largest quota of an execution; at least Quota. It must be known when
	// workers are parked, because workers can only lower their limits.
	MaxQuota job.Quota
	// Ceilings bound this process and its sandboxes together. The pool lowers Quota, MaxQuota
	// and the quotas of executions to fit them.
	Ceilings sandbox.Ceilings
	// OutputMemory bounds the memory for kept output of all executions together; 0 is no
	// limit. Beyond it the pool keeps less of large outputs.
	OutputMemory int64
	// Grace is the time between SIGINT and SIGKILL. Default 2 s.
	Grace time.Duration
	// StartTimeout is the time limit for a worker to park. A zygote may take three times as long
	// to import its modules. Default 20 s.
	StartTimeout time.Duration
	// Egress serves the proxy of a sandbox at a listener, which it owns then. Default: no sandbox has a network.
	Egress func(l net.Listener, n job.Network, sessionID string) Proxy
	// PassEnv names the variables of this process that workers get. They get no others.
	PassEnv []string
	// Spawned is called after each attempt to make a worker. Default: no call.
	Spawned func(runtime string, took time.Duration, err error)
	// HealthChanged is called after a change of Health, before callers that wait for a worker
	// get an answer. Default: no call.
	HealthChanged func()
	// PlainStack leaves Kaa's own frames on the code's stack, without changes to the
	// interpreter's memory: see frames.py.
	PlainStack bool
	// PlainMemory leaves preloaded modules in memory as their import has left them. Otherwise
	// Kaa moves them into a file in memory that forks share: see memory.py.
	PlainMemory bool
	// Plain names the optimizations of forks that zygotes leave out: Plain constants.
	Plain []string
	// Log gets messages for operators, never code or output. Default: no log.
	Log *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	if c.Size < 0 || c.Grace < 0 || c.StartTimeout < 0 {
		return c, fmt.Errorf("interpreter config: size %d, grace %s and start timeout %s must not be negative",
			c.Size, c.Grace, c.StartTimeout)
	}
	if len(c.Runtimes) == 0 {
		c.Runtimes = []RuntimeConfig{{}}
	}
	for i := range c.Runtimes {
		if c.Runtimes[i].Python == "" {
			c.Runtimes[i].Python = defaultPython
		}
	}
	if c.Sandbox == "" {
		c.Sandbox = sandbox.Strict
	}
	if c.Size == 0 {
		c.Size = defaultSize
	}
	if c.Grace == 0 {
		c.Grace = defaultGrace
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = defaultStartTimeout
	}
	c.Quota = c.Quota.Or(job.StandardQuota())
	c.MaxQuota = c.MaxQuota.AtLeast(c.Quota)
	var lowered []string
	c.Quota, _ = c.Ceilings.Fit(c.Quota)
	if c.MaxQuota, lowered = c.Ceilings.Fit(c.MaxQuota); c.Log != nil && len(lowered) > 0 {
		c.Log.Warn("interpreter: the limits of one execution are lowered to those that this runner can bear", slog.String("lowered", strings.Join(lowered, "; ")))
	}
	if c.Spawned == nil {
		c.Spawned = func(string, time.Duration, error) {}
	}
	if c.HealthChanged == nil {
		c.HealthChanged = func() {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}
