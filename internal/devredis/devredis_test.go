package devredis_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/devredis"
)

// TestStart: only who may read the directory gets in, whether there is room for the path of a
// socket or not, and nothing stays.
func TestStart(t *testing.T) {
	t.Parallel()
	for scheme, long := range map[string]bool{"unix": false, "redis": true} {
		dir, err := os.MkdirTemp("", "kaa-t-") //nolint:usetesting // its names are too long for a socket
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		if long {
			dir = filepath.Join(dir, strings.Repeat("x", 100))
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		url, stop, err := devredis.Start(dir)
		if err != nil {
			t.Fatal(err)
		}
		options, err := redis.ParseURL(url)
		if err != nil || !strings.HasPrefix(url, scheme+"://") || len(options.Password) < 20 {
			t.Fatalf("%s: %v", url, err)
		}
		text, err := os.ReadFile(filepath.Join(dir, "redis-url"))
		if err != nil || strings.TrimSpace(string(text)) != url {
			t.Errorf("%s, %v", text, err)
		}
		known := redis.NewClient(options)
		if err := known.Set(t.Context(), "k", "v", 0).Err(); err != nil {
			t.Errorf("%s: %v", scheme, err)
		}
		stranger := *options
		stranger.Password, stranger.MaxRetries = "", -1
		unknown := redis.NewClient(&stranger)
		for _, command := range [][]any{{"GET", "k"}, {"KEYS", "*"}, {"EVAL", "return 1", 0}, {"PUBLISH", "c", "m"}} {
			if err := unknown.Do(t.Context(), command...).Err(); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
				t.Errorf("%s: %v without the password: %v", scheme, command, err)
			}
		}
		listening := unknown.Subscribe(t.Context(), "c")
		if got, err := listening.Receive(t.Context()); err == nil {
			t.Errorf("%s: a stranger subscribes: %v", scheme, got)
		}
		_ = listening.Close()
		_, _ = known.Close(), unknown.Close()
		stop()
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%v stay: %v", left, err)
		}
	}
}
