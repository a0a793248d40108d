package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
)

func keptLines(t *testing.T, lines ...any) string {
	t.Helper()
	return ndjson(t, append([]any{fields{"batch": fields{"name": "numbers", "keepLines": true}}}, lines...)...)
}

// TestRerunOfBatch: those jobs that failed run again, with all that their lines said.
func TestRerunOfBatch(t *testing.T) {
	t.Parallel()
	acme, rival := withTenants(t)
	long := "import os, sys; " + strings.Repeat("x = 1; ", 1000) + "os._exit(3) if sys.argv[1] == 'no' else print(sys.argv)"
	id := acme.batch("", keptLines(t, fields{"code": "1/0", "metadata": fields{"n": 0}}, fields{"code": "2"}, fields{"code": "raise SystemExit(3)"}, fields{"code": long, "args": []string{"yes"}})).str("id")
	if b := acme.awaitBatch(id, "completed"); b.str("keepLines") != "true" {
		t.Errorf("batch: %s", b.raw)
	}
	path := batchesPath + "/" + id + "/rerun"
	failed := fields{"status": []string{"error", "exit"}, "state": []string{"failed"}}
	if a, never := rival.call(http.MethodPost, path, failed), rival.call(http.MethodPost, batchesPath+"/"+job.NewBatchID()+"/rerun", failed); a.status != http.StatusNotFound || a.raw != never.raw {
		t.Errorf("another tenant's: %d %s", a.status, a.raw)
	}
	made := acme.call(http.MethodPost, path, failed, "Idempotency-Key: again")
	again := made.str("id")
	if made.status != http.StatusAccepted || made.str("rerunOf") != id || made.str("name") != "numbers" || made.str("received.jobs") != "2" || made.header.Get("Idempotent-Replayed") != "" {
		t.Fatalf("rerun: %d %s", made.status, made.raw)
	}
	b := acme.awaitBatch(again, "completed")
	if b.str("jobs.error") != "1" || b.str("jobs.exit") != "1" || b.str("rerunOf") != id {
		t.Errorf("after the rerun: %s", b.raw)
	}
	if a := acme.call(http.MethodGet, "/v1/jobs/"+job.BatchJobID(again, 0), nil); a.str("metadata.n") != "0" {
		t.Errorf("first job: %s", a.raw)
	}
	if a := acme.call(http.MethodPost, path, failed, "Idempotency-Key: again"); a.status != http.StatusAccepted || a.str("id") != again || a.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("replayed: %d %s", a.status, a.raw)
	}
	if a := acme.call(http.MethodPost, path, fields{"status": []string{"ok"}}, "Idempotency-Key: again"); a.status != http.StatusConflict && a.status != http.StatusUnprocessableEntity {
		t.Errorf("another rerun with the key: %d %s", a.status, a.raw)
	}
	// The code that is stored by itself, and a rerun of a rerun.
	fine := acme.call(http.MethodPost, path, fields{"status": []string{"ok"}})
	acme.awaitBatch(fine.str("id"), "completed")
	if a := acme.call(http.MethodGet, "/v1/jobs/"+job.BatchJobID(fine.str("id"), 1), nil); !strings.Contains(a.str("result.stdout"), "yes") {
		t.Errorf("long code: %s", a.raw)
	}
	if a := acme.call(http.MethodPost, batchesPath+"/"+again+"/rerun", failed); a.status != http.StatusAccepted || a.str("received.jobs") != "2" {
		t.Errorf("rerun of a rerun: %d %s", a.status, a.raw)
	}
	if a := acme.call(http.MethodPost, path, fields{"state": []string{"cancelled"}}); a.status != http.StatusConflict || a.str("code") != "nothing_to_rerun" {
		t.Errorf("nothing: %d %s", a.status, a.raw)
	}
	rdb := acme.redis.Client(t)
	if rdb.PTTL(t.Context(), "{kaa}:batch:"+id+":chunk:0").Val() <= 0 || rdb.PTTL(t.Context(), "{kaa}:batch:"+id+":code").Val() <= 0 {
		t.Error("the lines do not expire with the record")
	}
	rdb.Del(t.Context(), "{kaa}:batch:"+id+":chunk:0")
	if a := acme.call(http.MethodPost, path, failed); a.status != http.StatusGone || a.str("code") != "lines_gone" {
		t.Errorf("without the lines: %d %s", a.status, a.raw)
	}
}

// TestRerunGoesOn: a rerun that broke off goes on with its idempotency key, and has each job once.
func TestRerunGoesOn(t *testing.T) {
	t.Parallel()
	k := start(t, 0)
	const n = 600
	id := k.batch("", keptLines(t)+manyLines(n)).str("id")
	if a := k.call(http.MethodPost, batchesPath+"/"+id+"/rerun", fields{"state": []string{"cancelled"}}); a.status != http.StatusConflict || a.str("code") != "not_finished" {
		t.Errorf("before the end: %d %s", a.status, a.raw)
	}
	k.call(http.MethodDelete, batchesPath+"/"+id, nil)
	k.awaitBatch(id, "cancelled")
	rdb, second := k.redis.Client(t), "{kaa}:batch:"+id+":chunk:500"
	rdb.Rename(t.Context(), second, second+":away")
	rdb.LPush(t.Context(), second, "not what is read")
	rerun := func() answer {
		return k.call(http.MethodPost, batchesPath+"/"+id+"/rerun", fields{"state": []string{"cancelled"}}, "Idempotency-Key: one")
	}
	if a := rerun(); a.status != http.StatusInternalServerError {
		t.Errorf("broken off: %d %s", a.status, a.raw)
	}
	rdb.Rename(t.Context(), second+":away", second)
	if a := rerun(); a.status != http.StatusAccepted || a.str("received.jobs") != fmt.Sprint(n) || a.str("jobs.waiting") != fmt.Sprint(n) {
		t.Errorf("continued: %d %s", a.status, a.raw)
	}
	if ids := rdb.SMembers(t.Context(), "{kaa}:batches:open").Val(); len(ids) != 1 {
		t.Errorf("batches: %v", ids)
	}
}

// TestRerunBadInput: mistakes are answered in words.
func TestRerunBadInput(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	id := k.batch("", `{"code":"1"}`).str("id")
	k.awaitBatch(id, "completed")
	for name, c := range map[string]struct {
		id     string
		body   any
		status int
		words  string
	}{
		"not kept":     {id, fields{"status": []string{"ok"}}, http.StatusGone, "keepLines"},
		"nothing":      {id, fields{}, http.StatusBadRequest, "names no jobs"},
		"empty lists":  {id, fields{"status": []string{}}, http.StatusBadRequest, "names no jobs"},
		"no status":    {id, fields{"status": []string{"bad"}}, http.StatusBadRequest, "status"},
		"no end":       {id, fields{"state": []string{"running"}}, http.StatusBadRequest, "state"},
		"other fields": {id, fields{"status": []string{"ok"}, "code": "1"}, http.StatusBadRequest, "code"},
		"no batch":     {job.BatchJobID(id, 0), fields{"status": []string{"ok"}}, http.StatusNotFound, "no batch has this id"},
	} {
		if a := k.call(http.MethodPost, batchesPath+"/"+c.id+"/rerun", c.body); a.status != c.status || !strings.Contains(a.raw, c.words) {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
}
