package app_test

import (
	"io"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/devredis"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestEmbeddedLease: a runner with a Redis of its own, of which nobody else knows, is not dead because its heartbeats are late.
func TestEmbeddedLease(t *testing.T) {
	t.Parallel()
	k := prepare(t, testenv.Redis(t))
	url := ""
	dev, err := app.StartDev(t.Context(), app.Process{
		Environ: k.environ.With("KAA_REDIS_URL", "").With("KAA_ADDR", "127.0.0.1:0"), Stdout: io.Discard, Stderr: k.logs,
		Redis: func(dir string) (string, func(), error) {
			at, end, err := devredis.Start(dir)
			url = at
			return at, end, err
		},
	}, nil)
	if err != nil {
		t.Fatalf("%v %s", err, k.logs)
	}
	defer func() {
		if err := dev.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	options, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	db := redis.NewClient(options)
	defer func() { _ = db.Close() }()
	runners := db.SMembers(t.Context(), "{kaa}:runners").Val()
	if len(runners) != 1 {
		t.Fatalf("runners: %q", runners)
	}
	if left := db.PTTL(t.Context(), "{kaa}:runner:"+runners[0]).Val(); left < time.Minute {
		t.Errorf("the runner is dead in %s", left)
	}
}
