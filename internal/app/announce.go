package app

import (
	"context"
	"log/slog"
	"net/url"
	"reflect"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/app/config"
)

// announce is the line with which a process begins: what it is, and how it is set. Nothing of it
// is secret.
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

// redisPlace is where Redis is, without who one is there.
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

// blobPlace is where files are, without what may be secret in how one gets there.
func blobPlace(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "?"
	}
	return u.Scheme + "://" + u.Host + u.Path
}

// given are the variables that somebody has set, but for secrets: what differs from the
// defaults is what one wants to know of a process that behaves differently.
func given(environ config.Environment) []slog.Attr {
	secret := []reflect.Type{reflect.TypeFor[config.Secret](), reflect.TypeFor[[]config.Secret]()}
	var all []slog.Attr
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		for f := range t.Fields() {
			name := f.Tag.Get("env")
			value := environ.Get(name)
			switch {
			case f.Anonymous:
				walk(f.Type)
			case name == "" || value == "" || value == f.Tag.Get("envDefault"):
			case f.Type == secret[0] || f.Type == secret[1]:
				all = append(all, slog.String(name, "***"))
			default:
				all = append(all, slog.String(name, value))
			}
		}
	}
	walk(reflect.TypeFor[config.Config]())
	return all
}
