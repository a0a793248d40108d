package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/kaa-run/kaa/internal/app/config"
	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// closeTime is how long the pool may take to end.
const closeTime = 5 * time.Second

// sandboxAuto asks for the strongest level that holds on this machine, basic at least.
const sandboxAuto = "auto"

// allowedLevels returns the levels that the configuration allows, in the order in which to try
// them.
func allowedLevels(c *config.Config) []sandbox.Level {
	if c.Sandbox == sandboxAuto {
		return []sandbox.Level{sandbox.Strict, sandbox.Basic}
	}
	return []sandbox.Level{sandbox.Level(c.Sandbox)}
}

// startPool starts the interpreters at the first level that holds on this machine. It returns the
// layers that prevented a stronger one. It tries a level by starting workers in it, because no
// other probe is reliable.
func (s *shared) startPool(ctx context.Context, changed func()) (_ *interpreter.Pool, missing []job.Layer, _ error) {
	levels := allowedLevels(&s.cfg)
	for i, level := range levels {
		pool, err := s.startPoolAt(ctx, level, changed)
		failed, layer := errors.AsType[*interpreter.LayerError](err)
		switch {
		case err == nil:
			return pool, missing, nil
		case layer && i < len(levels)-1:
			s.log.WarnContext(ctx, "a sandbox level does not hold here; trying the next", slog.String("sandbox", string(level)), slog.Any("err", err))
			missing = append(missing, missingLayer(failed))
		case layer:
			return nil, nil, fmt.Errorf("sandbox level %s does not hold here: %w; `kaa doctor` shows more, and KAA_SANDBOX asks for another level", level, err)
		default:
			return nil, nil, err
		}
	}
	return nil, nil, errors.New("no sandbox level to try")
}

func missingLayer(e *interpreter.LayerError) job.Layer {
	return job.Layer{Name: e.Layer, Detail: e.Reason, Advice: sandbox.ThisHost().Advice(e.Layer, e.Reason)}
}

func (s *shared) startPoolAt(ctx context.Context, level sandbox.Level, changed func()) (*interpreter.Pool, error) {
	cfg := interpreterConfig(&s.cfg, level)
	cfg.Log, cfg.Spawned, cfg.HealthChanged = s.log, s.metrics.Spawned, changed
	return startInterpreters(ctx, cfg)
}

func startInterpreters(ctx context.Context, cfg interpreter.Config) (*interpreter.Pool, error) {
	pool, err := interpreter.New(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("interpreters (KAA_PYTHON, KAA_RUNTIMES, KAA_WORK_DIR): %w", err)
	}
	if err := pool.Start(ctx); err != nil {
		return nil, errors.Join(err, closePool(ctx, pool))
	}
	return pool, nil
}

func closePool(ctx context.Context, pool *interpreter.Pool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	return pool.Close(ctx)
}

// interpreterConfig returns the configuration of the pool.
func interpreterConfig(c *config.Config, level sandbox.Level) interpreter.Config {
	return interpreter.Config{
		Runtimes: interpreterRuntimes(c), Sandbox: level, Size: c.Parked, Dir: c.WorkDir,
		OutputMemory: outputMemory(), Ceilings: sandbox.OwnCeilings(os.DirFS("/")).OfUser(), Quota: c.DefaultQuota(), MaxQuota: c.MaxQuota(), Grace: c.KillGrace, PassEnv: c.PassEnvs, PlainStack: c.PlainStack, PlainMemory: c.Plain.Has(config.PlainShare), Plain: c.Plain.OfInterpreter(),
	}
}

func interpreterRuntimes(c *config.Config) []interpreter.RuntimeConfig {
	all := make([]interpreter.RuntimeConfig, len(c.Runtimes))
	for i, rt := range c.Runtimes {
		all[i] = interpreter.RuntimeConfig{Name: rt.Name, Python: rt.Python, Preload: rt.Preload}
	}
	return all
}
