package interpreter

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// The errors callers branch on.
var (
	// ErrClosed: the pool or the worker was closed.
	ErrClosed = errors.New("interpreter is closed")
	// ErrUsed: the worker has served its one execution.
	ErrUsed = errors.New("worker was already used")
	// ErrStart: no Python process could be started.
	ErrStart = errors.New("python does not start")
)

// The defaults of Config.
const (
	defaultPython       = "python3"
	defaultSize         = 1
	defaultOutputBytes  = 1 << 20
	defaultGrace        = 2 * time.Second
	defaultStartTimeout = 10 * time.Second
)

// Config says how workers are made and bounded. Zero values mean the defaults.
type Config struct {
	// Python is the interpreter: a path, or a name to look up. Default python3.
	Python string
	// Size is how many parked workers are kept ready. Default 1.
	Size int
	// Dir is where the private directories are made. Default os.TempDir().
	Dir string
	// OutputBytes is the budget of each of stdout and stderr. Default 1 MiB.
	OutputBytes int
	// Grace is the time between SIGINT and SIGKILL. Default 2 s.
	Grace time.Duration
	// StartTimeout bounds how long an interpreter may take to park. Default 10 s.
	StartTimeout time.Duration
	// PassEnv names the variables of this process that workers get. No others do.
	PassEnv []string
	// Log gets what operators should know; never code or output. Default: nothing.
	Log *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	if c.Size < 0 || c.OutputBytes < 0 || c.Grace < 0 || c.StartTimeout < 0 {
		return c, fmt.Errorf("interpreter config: size %d, output bytes %d, grace %s and start timeout %s must not be negative",
			c.Size, c.OutputBytes, c.Grace, c.StartTimeout)
	}
	if c.Python == "" {
		c.Python = defaultPython
	}
	if c.Size == 0 {
		c.Size = defaultSize
	}
	if c.OutputBytes == 0 {
		c.OutputBytes = defaultOutputBytes
	}
	if c.Grace == 0 {
		c.Grace = defaultGrace
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = defaultStartTimeout
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}
