package app

import (
	"context"
	"log/slog"
	"net/url"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/app/config"
)

// announce logs the first line of a process: its build and its settings, without secrets.
func (s *shared) announce(ctx context.Context, environ config.Environment) {
	b := ThisBuild()
	c := s.cfg
	s.log.LogAttrs(ctx, slog.LevelInfo, "starting",
		slog.String("version", b.Version), slog.String("commit", b.Commit), slog.String("go", b.Go),
		slog.String("addr", c.Addr), slog.String("runner_addr", c.RunnerAddr), slog.Int("api_keys", len(c.APIKeys)),
		slog.String("redis", redisPlace(s.redis)), slog.String("blobs", blobPlace(c.BlobPlace())),
		slog.String("queues", strings.Join(c.Queues.Names(), ",")), slog.Int("concurrency", c.Concurrency), slog.Int("parked", c.Parked),
		slog.String("sandbox", c.Sandbox), slog.String("python", c.Runtimes[0].Python), slog.Int("runtimes", len(c.Runtimes)),
		slog.Any("set", slog.GroupValue(given(environ)...)))
}

// redisPlace returns the address of Redis without user and password.
func redisPlace(o *redis.UniversalOptions) string {
	place := strings.Join(o.Addrs, ",")
	if o.MasterName != "" {
		place += "/" + o.MasterName
	}
	if o.TLSConfig != nil {
		place += " (TLS)"
	}
	return place
}

// blobPlace returns the address of the files without user and query, which may hold secrets.
func blobPlace(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "?"
	}
	return u.Scheme + "://" + u.Host + u.Path
}

// given returns the variables that differ from their defaults. They explain why a process behaves
// differently from others. The values of secrets are masked.
func given(environ config.Environment) []slog.Attr {
	var all []slog.Attr
	for _, s := range config.Settings() {
		switch value := environ.Get(s.Name); {
		case value == "" || value == s.Default:
		case s.Secret:
			all = append(all, slog.String(s.Name, "***"))
		default:
			all = append(all, slog.String(s.Name, value))
		}
	}
	return all
}
