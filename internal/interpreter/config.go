package interpreter

import (
	"errors"
	"fmt"
	"log/slog"
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
	// LayerError tells which layer of the sandbox does not hold.
	LayerError = process.LayerError
	// PartError tells what else is missing.
	PartError = process.PartError
)

// The defaults of Config.
const (
	defaultPython       = "python3"
	defaultSize         = 1
	defaultGrace        = 2 * time.Second
	defaultStartTimeout = 20 * time.Second
)

// RuntimeConfig names an interpreter and what it imports ahead of all jobs.
type RuntimeConfig struct {
	// Name is what requests call it. Default: python and its version, as python3.11.
	Name string
	// Python is the interpreter: a path, or a name to look up. Default python3.
	Python string
	// Preload are modules that the zygote imports. They are trusted.
	Preload []string
}

// What Config.Plain may name, by what docs/architecture/tricks.md says of each.
const (
	PlainMachineCode = "machine-code" // Python takes the steps of programs: see program.py
	PlainPages       = "pages"        // no mapping of the zygote is changed: see memory.py
	PlainBallast     = "ballast"      // memory lies as the allocator has it: see start.py
	PlainFonts       = "fonts"        // each execution that imports matplotlib looks for fonts: see fonts.py
)

// Config says how workers are made and bounded. Zero values mean the defaults.
type Config struct {
	// Runtimes are the interpreters; the first is the default one. Default: python3.
	Runtimes []RuntimeConfig
	// Sandbox is the level of isolation. Default strict.
	Sandbox sandbox.Level
	// Size is how many parked workers of the default runtime are kept ready, and half
	// as many of each other. Default 1.
	Size int
	// Dir is where the private directories are made. Default os.TempDir().
	Dir string
	// Quota is for executions that do not say what they may use.
	Quota job.Quota
	// MaxQuota is the most that an execution can be given; at least Quota. It has to be
	// known when workers are parked, since they can lower their limits only.
	MaxQuota job.Quota
	// Ceilings are what this process and its sandboxes may have together. Quota and MaxQuota,
	// and what executions ask for, are lowered to what that bears.
	Ceilings sandbox.Ceilings
	// OutputMemory is how much memory what is kept of output may take, of all executions
	// together; 0 is no limit. Beyond it less is kept of large outputs.
	OutputMemory int64
	// Grace is the time between SIGINT and SIGKILL. Default 2 s.
	Grace time.Duration
	// StartTimeout bounds how long a zygote may take to import what it preloads, and a
	// worker to park. Default 20 s.
	StartTimeout time.Duration
	// PassEnv names the variables of this process that workers get. No others do.
	PassEnv []string
	// Spawned is told of each worker that was made, or could not be. Default: nobody.
	Spawned func(runtime string, took time.Duration, err error)
	// HealthChanged is called after Health has become another, before those who wait for a
	// worker are told. Default: nobody is.
	HealthChanged func()
	// PlainStack leaves Kaa's own frames on the code's stack, without changes to the
	// interpreter's memory: see frames.py.
	PlainStack bool
	// PlainMemory leaves what is preloaded in memory as its import has left it, where Kaa
	// otherwise puts it into a file in memory that forks share: see memory.py.
	PlainMemory bool
	// Plain names what zygotes leave out of what makes forks cheap: some of the Plain constants.
	Plain []string
	// Log gets what operators should know; never code or output. Default: nothing.
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
		c.Log.Warn("interpreter: the limits of one execution are lowered to what this runner can bear", slog.String("lowered", strings.Join(lowered, "; ")))
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
