package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// sandboxAuto asks for the strongest level that holds here, basic at least.
const sandboxAuto = "auto"

// levels are those that the configuration allows, in the order in which to try them.
func (c *Config) levels() []sandbox.Level {
	if c.Sandbox == sandboxAuto {
		return []sandbox.Level{sandbox.Strict, sandbox.Basic}
	}
	return []sandbox.Level{sandbox.Level(c.Sandbox)}
}

// startPool starts the interpreters, at the first level that holds here. The only
// real probe of a level is a worker that is parked in it.
func (s *shared) startPool(ctx context.Context) (*interpreter.Pool, error) {
	levels := s.cfg.levels()
	for i, level := range levels {
		pool, err := s.startPoolAt(ctx, level)
		_, layer := errors.AsType[*interpreter.LayerError](err)
		switch {
		case err == nil:
			return pool, nil
		case layer && i < len(levels)-1:
			s.log.WarnContext(ctx, "a sandbox level does not hold here; trying the next", slog.String("sandbox", string(level)), slog.Any("err", err))
		case layer:
			return nil, fmt.Errorf("%w; `kaa doctor` shows more, and KAA_SANDBOX asks for another level", err)
		default:
			return nil, err
		}
	}
	return nil, errors.New("no sandbox level to try")
}

func (s *shared) startPoolAt(ctx context.Context, level sandbox.Level) (*interpreter.Pool, error) {
	pool, err := interpreter.New(ctx, interpreter.Config{
		Runtimes: s.cfg.interpreterRuntimes(), Sandbox: level, Size: s.cfg.Parked, Dir: s.cfg.WorkDir,
		Quota: s.cfg.DefaultQuota(), MaxQuota: s.cfg.MaxQuota(),
		Grace: s.cfg.KillGrace, PassEnv: s.cfg.PassEnvs, Log: s.log,
	})
	if err != nil {
		return nil, fmt.Errorf("interpreters (KAA_PYTHON, KAA_RUNTIMES, KAA_WORK_DIR): %w", err)
	}
	if err := pool.Start(ctx); err != nil {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return nil, errors.Join(err, pool.Close(closing))
	}
	return pool, nil
}

func (c *Config) interpreterRuntimes() []interpreter.RuntimeConfig {
	all := make([]interpreter.RuntimeConfig, len(c.Runtimes))
	for i, rt := range c.Runtimes {
		all[i] = interpreter.RuntimeConfig{Name: rt.Name, Python: rt.Python, Preload: rt.Preload}
	}
	return all
}
