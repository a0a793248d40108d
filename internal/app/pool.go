package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/kaa-run/kaa/internal/app/interpreters"
	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// startPool starts the interpreters at the first level that holds on this machine. It returns the
// layers that prevented a stronger one. It tries a level by starting workers in it, because no
// other probe is reliable.
func (s *shared) startPool(ctx context.Context, changed func()) (_ *interpreter.Pool, missing []job.Layer, _ error) {
	levels := interpreters.Levels(&s.cfg)
	for i, level := range levels {
		pool, err := s.startPoolAt(ctx, level, changed)
		failed, layer := errors.AsType[*interpreter.LayerError](err)
		switch {
		case err == nil:
			return pool, missing, nil
		case layer && i < len(levels)-1:
			s.log.WarnContext(ctx, "a sandbox level does not hold here; trying the next", slog.String("sandbox", string(level)), slog.Any("err", err))
			missing = append(missing, interpreters.Missing(failed))
		case layer:
			return nil, nil, fmt.Errorf("sandbox level %s does not hold here: %w; `kaa doctor` shows more, and KAA_SANDBOX asks for another level", level, err)
		default:
			return nil, nil, err
		}
	}
	return nil, nil, errors.New("no sandbox level to try")
}

func (s *shared) startPoolAt(ctx context.Context, level sandbox.Level, changed func()) (*interpreter.Pool, error) {
	cfg := interpreters.Config(&s.cfg, level)
	cfg.Log, cfg.Spawned, cfg.HealthChanged, cfg.Egress = s.log, s.metrics.Spawned, changed, interpreters.Proxies(&s.cfg, s.secrets.values, s.log)
	return interpreters.Start(ctx, cfg)
}
