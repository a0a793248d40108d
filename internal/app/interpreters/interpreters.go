// Package interpreters starts the pool of interpreters that a configuration asks for. A runner uses
// the pool, and doctor tries it.
package interpreters

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/kaa-run/kaa/internal/app/config"
	"github.com/kaa-run/kaa/internal/egress"
	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// CloseTime is how long the pool may take to end.
const CloseTime = 5 * time.Second

// Auto asks for the strongest level that holds on this machine, basic at least.
const Auto = "auto"

// Levels returns the levels that the configuration allows, in the order in which to try
// them.
func Levels(c *config.Config) []sandbox.Level {
	if c.Sandbox == Auto {
		return []sandbox.Level{sandbox.Strict, sandbox.Basic}
	}
	return []sandbox.Level{sandbox.Level(c.Sandbox)}
}

// Missing describes the layer of the sandbox that an error names.
func Missing(e *interpreter.LayerError) job.Layer {
	return job.Layer{Name: e.Layer, Detail: e.Reason, Advice: sandbox.ThisHost().Advice(e.Layer, e.Reason)}
}

// Start starts a pool of interpreters.
func Start(ctx context.Context, cfg interpreter.Config) (*interpreter.Pool, error) {
	pool, err := interpreter.New(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("interpreters (KAA_PYTHON, KAA_RUNTIMES, KAA_WORK_DIR): %w", err)
	}
	if err := pool.Start(ctx); err != nil {
		return nil, errors.Join(err, Close(ctx, pool))
	}
	return pool, nil
}

// Close ends a pool of interpreters, within CloseTime.
func Close(ctx context.Context, pool *interpreter.Pool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), CloseTime)
	defer cancel()
	return pool.Close(ctx)
}

// Config returns the configuration of the pool at a level of the sandbox.
func Config(c *config.Config, level sandbox.Level) interpreter.Config {
	return interpreter.Config{
		Runtimes: runtimes(c), Sandbox: level, Size: c.Parked, Dir: c.WorkDir,
		OutputMemory: outputMemory(), Ceilings: sandbox.OwnCeilings(os.DirFS("/")).OfUser(), Quota: c.DefaultQuota(), MaxQuota: c.MaxQuota(), Grace: c.KillGrace, PassEnv: c.PassEnvs, PlainStack: c.PlainStack, PlainMemory: c.Plain.Has(config.PlainShare), Plain: c.Plain.OfInterpreter(),
	}
}

// Proxies returns what serves the proxies of sandboxes; nil if no code may reach any destination.
func Proxies(c *config.Config, secrets *job.NetworkSecrets, log *slog.Logger) func(net.Listener, job.Network, string) interpreter.Proxy {
	rules := c.EgressRules()
	if len(rules) == 0 {
		return nil
	}
	gate := egress.New(egress.Config{
		Allow: rules, Private: c.EgressPrefixes(), Connections: c.EgressConnections, Bytes: c.EgressBytes,
		Intercept: c.EgressIntercept, Secrets: secrets, Log: log,
	})
	return func(l net.Listener, n job.Network, sessionID string) interpreter.Proxy {
		return gate.Open(l, n, sessionID)
	}
}

func runtimes(c *config.Config) []interpreter.RuntimeConfig {
	all := make([]interpreter.RuntimeConfig, len(c.Runtimes))
	for i, rt := range c.Runtimes {
		all[i] = interpreter.RuntimeConfig{Name: rt.Name, Python: rt.Python, Preload: rt.Preload}
	}
	return all
}
