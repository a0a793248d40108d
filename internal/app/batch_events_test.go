package app_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
)

// jobsOf returns one of the numbers of jobs in an event of a batch.
func jobsOf(e event, name string) string {
	jobs, _ := e.data["jobs"].(map[string]any)
	return fmt.Sprint(jobs[name])
}

// TestBatchEvents: two followers of a batch see what has ended while a job still runs, and its end.
func TestBatchEvents(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	id := k.batch("", `{"code":"1"}`+"\n"+`{"code":"1/0"}`+"\n"+`{"code":"import time; time.sleep(3000)","timeout":3000}`).str("id")
	path := batchesPath + "/" + id + "/events"
	followers := []*stream{k.stream(http.MethodGet, path, nil), k.stream(http.MethodGet, path, nil)}
	for _, s := range followers {
		s.await(func(e event) bool {
			return e.name == "progress" && e.str("state") == "running" && jobsOf(e, "ok") == "1" && jobsOf(e, "error") == "1" && jobsOf(e, "running") == "1"
		})
	}
	if a := k.call(http.MethodDelete, "/v1/jobs/"+job.BatchJobID(id, 2), nil); a.status/100 != 2 {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	for _, s := range followers {
		all := s.all()
		if len(all) == 0 {
			t.Fatal("no further event")
		}
		if last := all[len(all)-1]; last.name != "end" || last.id != "end" || last.str("state") != "completed" || jobsOf(last, "running") != "0" {
			t.Errorf("the last event: %+v", last)
		}
	}
	if s := k.stream(http.MethodGet, path, nil, "Last-Event-ID: end"); s.res.StatusCode != http.StatusNoContent {
		t.Errorf("connecting again after the end: %s", s.res.Status)
	}
	if all := k.stream(http.MethodGet, path, nil).all(); len(all) != 1 || all[0].name != "end" {
		t.Errorf("events of a batch that has ended: %+v", all)
	}
}
