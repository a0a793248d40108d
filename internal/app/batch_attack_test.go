package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/kaa-run/kaa/internal/job"
)

// TestTenantsInBatches: a tenant gets nothing of another one's batches and schedules by their ids, cursors, keys or links, and no answer says that they exist.
func TestTenantsInBatches(t *testing.T) {
	t.Parallel()
	acme, rival := withTenants(t, "KAA_WEBHOOK_ALLOW_PRIVATE=true")
	const secret = "the-secret-of-acme"
	hook := fields{"url": "http://127.0.0.1:9/", "secret": secret}
	lines := ndjson(t, fields{"batch": fields{"keepLines": true, "archive": true, "webhook": hook, "name": "acme-batch"}}, fields{"code": "print('acme-result')"})
	id := acme.batch("", lines, "Idempotency-Key: shared").str("id")
	acme.awaitArchive(id)
	own := rival.batch("", ndjson(t, fields{"code": "print(1)"})).str("id")
	rival.awaitBatch(own, "completed")
	cut := acme.cutBatch("", ndjson(t, fields{"code": "1"}))
	schedule := acme.call(http.MethodPost, "/v1/schedules", fields{"cron": "0 0 1 1 *", "job": fields{"code": "print('acme')"}}).str("id")
	never, noSchedule := job.NewBatchID(), uuid.Must(uuid.NewV7()).String()
	var last struct{ Cursor string }
	results := strings.Split(strings.TrimSpace(acme.call(http.MethodGet, batchesPath+"/"+id+"/results", nil).raw), "\n")
	if err := json.Unmarshal([]byte(results[0]), &last); err != nil || last.Cursor == "" {
		t.Fatal(results, err)
	}
	for what, call := range map[string]func(id, schedule string) answer{
		"after": func(id, _ string) answer {
			return rival.call(http.MethodPost, "/v1/jobs", fields{"code": "1", "after": id})
		},
		"after in list": func(id, _ string) answer {
			return rival.call(http.MethodPost, "/v1/jobs:batch", fields{"jobs": []fields{{"code": "1", "after": id}}})
		},
		"lines": func(id, _ string) answer {
			return rival.call(http.MethodPost, batchesPath+"/"+id+"/lines?from=1", `{"code":"1"}`)
		},
		"archive": func(id, _ string) answer { return rival.call(http.MethodGet, batchesPath+"/"+id+"/archive", nil) },
		"results": func(id, _ string) answer {
			return rival.call(http.MethodGet, batchesPath+"/"+id+"/results?cursor="+last.Cursor, nil)
		},
		"job": func(id, _ string) answer { return rival.call(http.MethodGet, "/v1/jobs/"+job.BatchJobID(id, 0), nil) },
		"rerun of job": func(id, _ string) answer {
			return rival.call(http.MethodPost, "/v1/jobs/"+job.BatchJobID(id, 0)+"/rerun", nil)
		},
		"schedule": func(_, id string) answer { return rival.call(http.MethodGet, "/v1/schedules/"+id, nil) },
		"change": func(_, id string) answer {
			return rival.call(http.MethodPatch, "/v1/schedules/"+id, fields{"paused": true})
		},
		"end of schedule": func(_, id string) answer { return rival.call(http.MethodDelete, "/v1/schedules/"+id, nil) },
	} {
		of := id
		if what == "lines" {
			of = cut
		}
		got, want := call(of, schedule), call(never, noSchedule)
		if got.status != want.status || strings.ReplaceAll(got.raw, of, never) != want.raw {
			t.Errorf("%s: %d %s, of none %d %s", what, got.status, got.raw, want.status, want.raw)
		}
	}
	if a := rival.call(http.MethodGet, batchesPath+"/"+own+"/results?cursor="+last.Cursor, nil); a.status != http.StatusBadRequest || strings.Contains(a.raw, id) {
		t.Errorf("a cursor of another tenant's batch: %d %s", a.status, a.raw)
	}
	if a := rival.batch("", lines, "Idempotency-Key: shared"); a.str("id") == id || a.header.Get("Idempotent-Replayed") != "" {
		t.Errorf("another tenant's Idempotency-Key: %s", a.raw)
	}
	for _, path := range []string{batchesPath, batchesPath + "?cursor=" + id, "/v1/schedules", "/v1/schedules?cursor=" + schedule, "/v1/jobs", "/v1/jobs?cursor=" + last.Cursor, "/v1/usage"} {
		if a := rival.call(http.MethodGet, path, nil); strings.Contains(a.raw, id[:30]) || strings.Contains(a.raw, schedule) || strings.Contains(a.raw, cut) {
			t.Errorf("%s: %s", path, a.raw)
		}
	}
	for _, k := range []*kaa{acme, rival, acme.as(adminOfTests)} {
		for _, path := range []string{batchesPath, batchesPath + "/" + id, "/v1/config"} {
			if a := k.call(http.MethodGet, path, nil); strings.Contains(a.raw, secret) {
				t.Errorf("%s shows the secret of a webhook", path)
			}
		}
	}
	if strings.Contains(acme.logs.String(), secret) {
		t.Error("the log has the secret of a webhook")
	}
	if a := acme.call(http.MethodGet, "/v1/schedules/"+schedule, nil); a.status != http.StatusOK || a.str("paused") == "true" {
		t.Errorf("the schedule after all this: %d %s", a.status, a.raw)
	}
}
