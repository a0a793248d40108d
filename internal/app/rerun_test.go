package app_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/testenv"
)

func rerunOf(id string) string { return "/v1/jobs/" + id + "/rerun" }

// TestRerunOfJob: a job that has ended runs again as it was asked for, with its files, also after its own record is gone.
func TestRerunOfJob(t *testing.T) {
	t.Parallel()
	acme, rival := withTenants(t)
	id := acme.submit(fields{
		"code": "import sys; print(sys.argv[1:], open('in').read(), input())", "args": []string{"a", "é"}, "stdin": "typed", "metadata": fields{"n": 1},
		"files": []fields{{"path": "in", "content": "brought"}},
	})
	first := acme.await(id)
	again := acme.call(http.MethodPost, rerunOf(id), nil, "Idempotency-Key: once")
	if again.status != http.StatusAccepted || again.str("rerunOf") != id || again.str("id") == id || again.header.Get("Location") != "/v1/jobs/"+again.str("id") {
		t.Fatalf("%d %s", again.status, again.raw)
	}
	if a := acme.call(http.MethodPost, rerunOf(id), nil, "Idempotency-Key: once"); a.str("id") != again.str("id") || a.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("sent twice: %d %s", a.status, a.raw)
	}
	if a := acme.call(http.MethodPost, "/v1/jobs", fields{"code": "1"}, "Idempotency-Key: once"); a.status != http.StatusConflict {
		t.Errorf("the key for another request: %d %s", a.status, a.raw)
	}
	if a := acme.call(http.MethodDelete, record(id), nil); a.status != http.StatusNoContent {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	got := acme.await(again.str("id"))
	if got.str("result.stdout") != first.str("result.stdout") || !strings.Contains(first.str("result.stdout"), "['a', 'é'] brought typed") || got.str("metadata.n") != "1" || got.str("rerunOf") != id {
		t.Errorf("first %s\nthen %s", first.raw, got.raw)
	}
	third := acme.call(http.MethodPost, rerunOf(again.str("id")), nil)
	if got := acme.await(third.str("id")); got.str("result.stdout") != first.str("result.stdout") {
		t.Errorf("a rerun of a rerun: %s", got.raw)
	}
	never := uuid.Must(uuid.NewV7()).String()
	if a, unknown := rival.call(http.MethodPost, rerunOf(third.str("id")), nil), rival.call(http.MethodPost, rerunOf(never), nil); a.status != http.StatusNotFound || a.raw != unknown.raw {
		t.Errorf("another tenant's: %d %s", a.status, a.raw)
	}
	blob := filepath.Join(acme.blobs(), filepath.FromSlash(job.InputKey(third.str("id"), 0)))
	if err := os.Remove(blob); err != nil {
		t.Fatal(err)
	}
	before := len(blobsIn(t, acme.blobs()))
	if a := acme.call(http.MethodPost, rerunOf(third.str("id")), nil); a.status != http.StatusConflict || a.str("code") != "request_not_kept" {
		t.Errorf("without its file: %d %s", a.status, a.raw)
	}
	testenv.Eventually(t, "nothing is left of the refused call", func() bool { return len(blobsIn(t, acme.blobs())) == before })
}

// TestRerunRefused: what cannot run again is answered in words.
func TestRerunRefused(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	waiting := k.submit(fields{"code": "1", "delay": 3600})
	session := k.open(fields{})
	ended := k.submit(fields{"code": "1", "sessionId": session})
	k.await(ended)
	large := k.submit(fields{"code": "#" + strings.Repeat("x", 20_000)})
	k.await(large)
	sync := k.execute(fields{"code": "1"}).str("jobId")
	cancelled := k.submit(fields{"code": "print('after all')", "delay": 3600})
	k.call(http.MethodDelete, "/v1/jobs/"+cancelled, nil)
	for name, c := range map[string]struct {
		id     string
		status int
		code   string
	}{
		"waits":        {waiting, http.StatusConflict, "not_finished"},
		"in a session": {ended, http.StatusConflict, "request_not_kept"},
		"large":        {large, http.StatusConflict, "request_not_kept"},
		"synchronous":  {sync, http.StatusConflict, "request_not_kept"},
		"no id":        {"x", http.StatusNotFound, "not_found"},
	} {
		if a := k.call(http.MethodPost, rerunOf(c.id), nil); a.status != c.status || a.str("code") != c.code {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
	a := k.call(http.MethodPost, rerunOf(cancelled), nil)
	if got := k.await(a.str("id")); got.str("result.stdout") != "after all\n" {
		t.Errorf("one that was cancelled: %s", got.raw)
	}
}

// TestRerunOfBatchJob: a job of a batch runs again by itself if the batch keeps its lines.
func TestRerunOfBatchJob(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	kept := k.batch("", keptLines(t, fields{"code": "1"}, fields{"code": "print('again')"})).str("id")
	not := k.batch("", `{"code":"1"}`).str("id")
	k.awaitBatch(kept, "completed")
	k.awaitBatch(not, "completed")
	second := job.BatchJobID(kept, 1)
	a := k.call(http.MethodPost, rerunOf(second), nil)
	if got := k.await(a.str("id")); got.str("result.stdout") != "again\n" || got.str("rerunOf") != second || got.str("batchId") != "" {
		t.Errorf("%s", got.raw)
	}
	if b := k.call(http.MethodGet, batchesPath+"/"+kept, nil); b.str("jobs.ok") != "2" {
		t.Errorf("the batch: %s", b.raw)
	}
	if a := k.call(http.MethodPost, rerunOf(job.BatchJobID(not, 0)), nil); a.status != http.StatusConflict || a.str("code") != "request_not_kept" {
		t.Errorf("without lines: %d %s", a.status, a.raw)
	}
}

// TestRerunWithinTheKey: a key cannot have more by running again what another key of its tenant was allowed.
func TestRerunWithinTheKey(t *testing.T) {
	t.Parallel()
	acme, _ := withTenants(t)
	id := acme.submit(fields{"code": "1", "timeout": 60})
	acme.await(id)
	made := acme.as(adminOfTests).call(http.MethodPost, "/v1/keys", fields{"tenant": "acme", "limits": fields{"ceilings": fields{"timeout": 5}}})
	if made.status != http.StatusCreated {
		t.Fatalf("%d %s", made.status, made.raw)
	}
	if a := acme.as(made.str("key")).call(http.MethodPost, rerunOf(id), nil); a.status != http.StatusBadRequest || !strings.Contains(a.raw, "at most 5 now, the ceiling of this API key") {
		t.Errorf("%d %s", a.status, a.raw)
	}
}
