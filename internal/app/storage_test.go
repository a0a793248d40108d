package app_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/kaa-run/kaa/internal/testenv"
)

// TestStorageOfKeys: one key's results fill its share of Redis, and no more: other keys go on.
func TestStorageOfKeys(t *testing.T) {
	t.Parallel()
	own := testenv.OwnRedis(t, "--maxmemory", "48mb", "--maxmemory-policy", "noeviction")
	k := prepare(t, &own.RedisDB, "KAA_API_KEYS=one,two", "KAA_LOG_LEVEL=ERROR")
	k.startAll(1)
	k.key = "one"
	large := fields{"code": "import sys\nsys.stdout.write('\\0' * 1048576)\nsys.stderr.write('\\0' * 1048576)", "resultTtl": 604800}
	refused := false
	for range 40 {
		a := k.call(http.MethodPost, "/v1/jobs", large)
		if a.status == http.StatusTooManyRequests && a.str("code") == "key_storage_full" {
			refused = true
			break
		}
		if a.status != http.StatusAccepted {
			t.Fatalf("%d %s", a.status, a.raw)
		}
		if end := k.await(a.str("id")); end.str("state") != "completed" {
			t.Fatal(end.str("failure.code"), end.str("failure.message"))
		}
	}
	if !refused {
		t.Error("there was no end of it")
	}
	k.key = "two"
	for i := range 5 {
		if a := k.execute(fields{"code": fmt.Sprintf("print(%d)", i)}); a.str("stdout") != fmt.Sprintln(i) {
			t.Errorf("the other key: %d %s", a.status, a.raw)
		}
	}
}
