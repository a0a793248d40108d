package app_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
)

// TestJobAfterBatch: a job waits for the end of a batch of its tenant, and runs then.
func TestJobAfterBatch(t *testing.T) {
	t.Parallel()
	acme, rival := withTenants(t)
	batch := acme.batch("", `{"code":"import time; time.sleep(3000)","timeout":3000}`+"\n"+`{"code":"1/0"}`).str("id")
	made := acme.call(http.MethodPost, "/v1/jobs", fields{"code": "print('reduced')", "after": batch})
	id := made.str("id")
	if made.status != http.StatusAccepted || made.str("state") != "scheduled" || made.str("after") != batch {
		t.Fatalf("submitted: %d %s", made.status, made.raw)
	}
	if a := acme.call(http.MethodGet, "/v1/jobs/"+id, nil); a.str("state") != "scheduled" || a.str("waitsFor") != "batch" {
		t.Errorf("waiting: %s", a.raw)
	}
	other := rival.call(http.MethodPost, "/v1/jobs", fields{"code": "1", "after": batch})
	never := rival.call(http.MethodPost, "/v1/jobs", fields{"code": "1", "after": job.NewBatchID()})
	if other.status != http.StatusNotFound || other.raw != never.raw {
		t.Errorf("another tenant's batch: %d %s, of one that never was %s", other.status, other.raw, never.raw)
	}
	if a := rival.call(http.MethodPost, "/v1/jobs:batch", fields{"jobs": []fields{{"code": "1", "after": batch}, {"code": "1"}}}); a.status != http.StatusAccepted || !strings.Contains(a.raw, "no batch has this id") {
		t.Errorf("one of several: %d %s", a.status, a.raw)
	}
	if a := acme.call(http.MethodDelete, batchesPath+"/"+batch, nil); a.status != http.StatusAccepted {
		t.Fatalf("cancel: %d %s", a.status, a.raw)
	}
	acme.awaitBatch(batch, "cancelled")
	late := acme.submit(fields{"code": "print('late')", "after": batch})
	for id, want := range map[string]string{id: "reduced\n", late: "late\n"} {
		if a := acme.await(id); a.str("state") != "completed" || a.str("result.stdout") != want {
			t.Errorf("after the end: %s", a.raw)
		}
	}
}

// TestJobAfterBadInput: mistakes about after are answered in words.
func TestJobAfterBadInput(t *testing.T) {
	t.Parallel()
	k := start(t, 0)
	batch := k.cutBatch("?badLines=skip", `{"code":"1"}`+"\n")
	for name, c := range map[string]struct {
		body   fields
		status int
		words  string
	}{
		"no id":       {fields{"after": "yesterday"}, http.StatusNotFound, "no batch has this id"},
		"a job's id":  {fields{"after": job.BatchJobID(batch, 0)}, http.StatusNotFound, "no batch has this id"},
		"a number":    {fields{"after": 1}, http.StatusBadRequest, "after"},
		"with delay":  {fields{"after": batch, "delay": 5}, http.StatusBadRequest, "cannot be combined with delay or runAt"},
		"with runAt":  {fields{"after": batch, "runAt": "2020-01-01T00:00:00Z"}, http.StatusBadRequest, "cannot be combined with delay or runAt"},
		"not at once": {fields{"after": strings.Repeat("a", 65)}, http.StatusBadRequest, "after"},
		"null":        {fields{"after": nil}, http.StatusAccepted, `"state":"queued"`},
	} {
		c.body["code"] = "1"
		if a := k.call(http.MethodPost, "/v1/jobs", c.body); a.status != c.status || !strings.Contains(a.raw, c.words) {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
	if a := k.call(http.MethodPost, batchesPath, ndjson(t, fields{"code": "1", "after": batch}), "Content-Type: application/x-ndjson"); a.status != http.StatusBadRequest || !strings.Contains(a.raw, "is not for jobs of a batch") {
		t.Errorf("in a batch: %d %s", a.status, a.raw)
	}
}
