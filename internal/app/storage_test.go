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

// TestStorageOfResults: nor do many jobs that one key was allowed at once, or what its sessions
// execute: results beyond its share are not kept, and the jobs end.
func TestStorageOfResults(t *testing.T) {
	t.Parallel()
	own := testenv.OwnRedis(t, "--maxmemory", "48mb", "--maxmemory-policy", "noeviction")
	k := prepare(t, &own.RedisDB, "KAA_API_KEYS=one,two", "KAA_LOG_LEVEL=ERROR")
	k.startAll(1)
	k.key = "one"
	const code = "import sys\nsys.stdout.write('\\0' * 1048576)\nsys.stderr.write('\\0' * 1048576)"
	session := k.open(fields{})
	jobs := make([]fields, 20)
	for i := range jobs {
		jobs[i] = fields{"code": code, "resultTtl": 604800}
	}
	a := k.call(http.MethodPost, "/v1/jobs:batch", fields{"jobs": jobs})
	if a.status != http.StatusAccepted {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	if e := k.execute(fields{"code": code, "sessionId": session}); e.status != http.StatusOK && e.str("code") != "result_not_kept" && e.str("code") != "key_storage_full" {
		t.Errorf("in a session: %d %s", e.status, e.str("code"))
	}
	ends := map[string]int{}
	entries, _ := a.body["jobs"].([]any)
	for _, e := range entries {
		entry, _ := e.(map[string]any)
		end := k.await(answer{body: entry}.str("id"))
		ends[end.str("state")+end.str("failure.code")]++
	}
	if ends["completed"] == 0 || ends["failedresult_not_kept"] == 0 || len(ends) != 2 {
		t.Error(ends)
	}
	k.key = "two"
	// What Redis holds of results on their way counts, too, for as long as an API remembers it.
	testenv.Eventually(t, "the other key is served", func() bool {
		return k.call(http.MethodPost, "/process/interpreter/execute", fields{"code": "print('y' * 1000000)"}).status == http.StatusOK
	})
}
