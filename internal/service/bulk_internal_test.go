package service

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// pagesOf is a Lookup with jobs of two states, listed two at a time.
type pagesOf struct {
	Lookup
	jobs map[job.State][]job.Job
}

func (p pagesOf) List(_ context.Context, f job.Filter) ([]job.Job, string, error) {
	all := slices.Clone(p.jobs[f.State])
	all = slices.DeleteFunc(all, func(j job.Job) bool { return f.Cursor != "" && j.ID >= f.Cursor })
	if len(all) <= 2 {
		return all, "", nil
	}
	return all[:2], all[1].ID, nil
}

// TestWalkGoesOn: a walk whose time is up after each job meets each job once, where it went on.
func TestWalkGoesOn(t *testing.T) {
	t.Parallel()
	lookup := pagesOf{jobs: map[job.State][]job.Job{}}
	for _, state := range []job.State{job.Queued, job.Running} {
		for i := 5; i > 0; i-- {
			lookup.jobs[state] = append(lookup.jobs[state], job.Job{ID: fmt.Sprint(state, i), CreatedAt: time.UnixMilli(int64(i))})
		}
	}
	w := &walk{s: New(Config{Lookup: lookup, Hub: NewHub("h")}), filter: JobFilter{States: []job.State{job.Queued, job.Running}}, at: confirmation{Before: 4}}
	var met []string
	for calls := 1; ; calls++ {
		complete, err := w.each(t.Context(), func(j job.Job) error { met = append(met, j.ID); return nil })
		if err != nil {
			t.Fatal(err)
		}
		if complete {
			break
		}
		if calls > 20 {
			t.Fatal("it does not get on")
		}
	}
	want := []string{"queued4", "queued3", "queued2", "queued1", "running4", "running3", "running2", "running1"}
	if !slices.Equal(met, want) {
		t.Errorf("%q, want %q", met, want)
	}
}
