package store_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// idAt returns an id that was made at a time, as ids of version 7 are.
func idAt(t *testing.T, at time.Time) string {
	t.Helper()
	id := uuid.Must(uuid.NewV7()).String()
	return job.IDsFrom(at) + id[len(job.IDsFrom(at)):]
}

// TestListFilters: each condition selects its jobs, by the listings or by their records.
func TestListFilters(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	begin := time.Now().Add(-time.Hour).Truncate(time.Second)
	at := func(minute int) time.Time { return begin.Add(time.Duration(minute) * time.Minute) }
	ids := make([]string, 6)
	for i, metadata := range []string{`{"user":"ada","n":2}`, `{"user":"bob","tags":["Grading Run"]}`, ``, `{"user":"ada"}`, `{"caf\u00e9":null}`, `{"n":2.5}`} {
		ids[i] = b.create(t, newJob(func(n *job.NewJob) {
			n.Job.ID, n.Job.Metadata, n.Caller = idAt(t, at(i)), json.RawMessage(metadata), []string{"one", "two"}[i%2]
		}))
	}
	for i, status := range []job.Status{job.StatusOK, job.StatusError, job.StatusExit} {
		if err := b.Finish(t.Context(), b.claim(t, ids[i]), job.Outcome{State: job.Completed, Result: &job.Result{Status: status}}); err != nil {
			t.Fatal(err)
		}
	}
	all := job.Viewer{All: true}
	for name, c := range map[string]struct {
		filter job.Filter
		want   []int
	}{
		"all":             {job.Filter{}, []int{5, 4, 3, 2, 1, 0}},
		"from":            {job.Filter{From: at(2)}, []int{5, 4, 3, 2}},
		"from in between": {job.Filter{From: at(2).Add(time.Nanosecond)}, []int{5, 4, 3}},
		"before":          {job.Filter{Before: at(2)}, []int{1, 0}},
		"both":            {job.Filter{From: at(1), Before: at(4)}, []int{3, 2, 1}},
		"before a cursor": {job.Filter{Before: at(5), Cursor: ids[2]}, []int{1, 0}},
		"behind a cursor": {job.Filter{Before: at(2), Cursor: ids[4]}, []int{1, 0}},
		"never":           {job.Filter{From: at(4), Before: at(1)}, nil},
		"before 1970":     {job.Filter{Before: time.Unix(-1, 0)}, nil},
		"state and time":  {job.Filter{State: job.Queued, Before: at(4)}, []int{3}},
		"status":          {job.Filter{Statuses: []job.Status{job.StatusError, job.StatusExit}}, []int{2, 1}},
		"member":          {job.Filter{Metadata: []job.MetadataMatch{{Name: "user", Value: "ada"}}}, []int{3, 0}},
		"members":         {job.Filter{Metadata: []job.MetadataMatch{{Name: "user", Value: "ada"}, {Name: "n", Value: "2"}}}, []int{0}},
		"text of a value": {job.Filter{Text: "grading"}, []int{1}},
		"text of a name":  {job.Filter{Text: "USER"}, []int{3, 1, 0}},
		"escaped text":    {job.Filter{Text: "CAFÉ"}, []int{4}},
		"number as text":  {job.Filter{Text: "2"}, []int{5, 0}},
		"owner":           {job.Filter{Owner: "two"}, []int{5, 3, 1}},
		"page":            {job.Filter{Owner: "two", Limit: 2}, []int{5, 3}},
		"last page":       {job.Filter{Owner: "two", Limit: 2, Cursor: ids[3]}, []int{1}},
	} {
		f := c.filter
		f.Viewer = all
		if f.Limit == 0 {
			f.Limit = 10
		}
		jobs, next, err := b.List(t.Context(), f)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []int
		for _, j := range jobs {
			got = append(got, slices.Index(ids, j.ID))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: jobs %v, want %v", name, got, c.want)
		}
		if more := name == "page"; more != (next != "") {
			t.Errorf("%s: the next page begins at %q", name, next)
		}
	}
	if jobs, _, err := b.List(t.Context(), job.Filter{Text: "ada", Viewer: job.Viewer{Caller: "@acme"}, Limit: 10}); err != nil || len(jobs) != 0 {
		t.Errorf("a tenant finds %d jobs of others, %v", len(jobs), err)
	}
}

// TestNarrowedListIsBounded: a page for which few jobs fit ends after jobsLooked records, with a cursor for the rest.
func TestNarrowedListIsBounded(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	first := b.create(t, newJob(func(n *job.NewJob) { n.Job.Metadata = json.RawMessage(`{"user":"ada"}`) }))
	expired := make([]redis.Z, store.JobsLooked) // listed, as those of which the record has expired
	for i := range expired {
		expired[i].Member = uuid.Must(uuid.NewV7()).String()
	}
	if err := b.rdb.ZAdd(t.Context(), "{kaa}:jobs:default:queued", expired...).Err(); err != nil {
		t.Fatal(err)
	}
	f := job.Filter{Text: "ada", Viewer: job.Viewer{All: true}, Limit: 10}
	jobs, next, err := b.List(t.Context(), f)
	if err != nil || len(jobs) != 0 || next == "" {
		t.Fatalf("%d jobs, then %q, %v", len(jobs), next, err)
	}
	f.Cursor = next
	if jobs, next, err = b.List(t.Context(), f); err != nil || len(jobs) != 1 || jobs[0].ID != first || next != "" {
		t.Errorf("%d jobs, then %q, %v", len(jobs), next, err)
	}
}
