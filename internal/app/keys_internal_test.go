package app

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/app/config"
	"github.com/kaa-run/kaa/internal/store"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestKeysFileThatHangs: while the file system of the keys file does not answer, keys in Redis are revoked, the keys of
// the file stay, and a stop does not wait.
func TestKeysFileThatHangs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	write := func(keys string) {
		if err := os.WriteFile(path, []byte(keys), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key := func(secret string) access.Key {
		return access.Key{ID: access.Digest(secret)[:12], Tenant: "acme", SHA256: access.Digest(secret)}
	}
	write(`{"keys": [{"id": "a", "tenant": "acme", "sha256": "` + access.Digest("in the file") + `"}]}`)
	rdb := testenv.Redis(t).Client(t)
	logs := new(testenv.Buffer)
	s := &shared{cfg: config.Config{APIKeysFile: path}, log: slog.New(slog.NewTextHandler(logs, nil)), store: store.New(rdb, store.Config{})}
	if err := s.store.PutKey(t.Context(), key("in Redis")); err != nil {
		t.Fatal(err)
	}
	feed := s.newKeys()
	reading, hangs := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(hangs) })
	read := feed.file.read
	feed.file.read = func(path string) ([]access.Key, error) {
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte("hang")) {
			close(reading)
			<-hangs
		} else if err == nil {
			return read(path)
		}
		return nil, err
	}
	if err := feed.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	accepted := func(secret string) bool {
		_, err := feed.keyring.Find(secret)
		return err == nil
	}
	if !accepted("in the file") || !accepted("in Redis") {
		t.Fatal("the keys at the start are not those of the file and Redis")
	}
	write("hang")
	<-reading
	if err := s.store.DropKey(t.Context(), key("in Redis").ID); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "the key in Redis is revoked", func() bool { return !accepted("in Redis") })
	testenv.Eventually(t, "the log says that the file does not answer", func() bool { return strings.Contains(logs.String(), "does not answer") })
	if !accepted("in the file") {
		t.Error("a file that does not answer has taken its key away")
	}
	if err := feed.close(t.Context()); err != nil {
		t.Error(err)
	}
}
