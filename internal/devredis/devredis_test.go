package devredis_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/devredis"
)

// TestStart: only who may read the private directory gets in, whether there is room for the path of a
// socket or not, and nothing stays.
func TestStart(t *testing.T) { //nolint:paralleltest // it sets TMPDIR
	base := os.TempDir()
	for scheme, long := range map[string]bool{"unix": false, "redis": true} {
		tmp, err := os.MkdirTemp(base, "kaa-t-") //nolint:usetesting // its names are too long for a socket
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(tmp) })
		if long {
			tmp = filepath.Join(tmp, strings.Repeat("x", 100))
			if err := os.Mkdir(tmp, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		t.Setenv("TMPDIR", tmp)
		url, stop, err := devredis.Start()
		if err != nil {
			t.Fatal(err)
		}
		options, err := redis.ParseURL(url)
		if err != nil || !strings.HasPrefix(url, scheme+"://") || len(options.Password) < 20 {
			t.Fatalf("%s: %v", url, err)
		}
		dirs, err := filepath.Glob(filepath.Join(tmp, "*"))
		if err != nil || len(dirs) != 1 {
			t.Fatalf("%v %v", dirs, err)
		}
		info, err := os.Stat(dirs[0])
		text, err2 := os.ReadFile(filepath.Join(dirs[0], "redis-url"))
		if err != nil || err2 != nil || info.Mode().Perm() != 0o700 || strings.TrimSpace(string(text)) != url {
			t.Errorf("%v %s, %v %v", info, text, err, err2)
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
		if _, err := os.Stat(dirs[0]); !os.IsNotExist(err) {
			t.Errorf("%s stays: %v", dirs[0], err)
		}
	}
}
