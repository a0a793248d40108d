package job_test

import (
	"errors"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
)

// TestBatchCursor: a cursor is that of one batch and one order.
func TestBatchCursor(t *testing.T) {
	t.Parallel()
	id, other := job.NewBatchID(), job.NewBatchID()
	for _, place := range []int64{0, 1, 255, 70_000, job.MaxBatchJobs} {
		cursor := job.BatchCursor(id, job.BySubmission, place)
		if got, err := job.ParseBatchCursor(id, job.BySubmission, cursor); err != nil || got != place {
			t.Errorf("%d is read as %d, %v", place, got, err)
		}
		if _, err := job.ParseBatchCursor(other, job.BySubmission, cursor); !errors.Is(err, job.ErrBatchCursor) {
			t.Errorf("another batch takes it: %v", err)
		}
		if _, err := job.ParseBatchCursor(id, job.ByCompletion, cursor); !errors.Is(err, job.ErrBatchCursor) {
			t.Errorf("another order takes it: %v", err)
		}
	}
	for _, text := range []string{"", "x", "AAAAAAAAAAA", "AAAAAAAAAAA=", "\x00", "AAAAAAAAAAAAAAAAAAAA"} {
		if _, err := job.ParseBatchCursor(id, job.BySubmission, text); !errors.Is(err, job.ErrBatchCursor) {
			t.Errorf("%q is a cursor: %v", text, err)
		}
	}
}

// TestMarksOf: a filter selects jobs with one of the states or one of the statuses.
func TestMarksOf(t *testing.T) {
	t.Parallel()
	tests := []struct {
		states   []job.State
		statuses []job.Status
		want     job.BatchMarks
	}{
		{nil, nil, ""},
		{nil, []job.Status{job.StatusError}, "e"},
		{[]job.State{job.Failed}, []job.Status{job.StatusExit, job.StatusError}, "exfl"},
		{[]job.State{job.Completed}, nil, "oeix"},
		{[]job.State{job.Cancelled, job.BatchRefused}, nil, "cur"},
	}
	for _, tt := range tests {
		if got := job.MarksOf(tt.states, tt.statuses); got != tt.want {
			t.Errorf("%v %v select %q, want %q", tt.states, tt.statuses, got, tt.want)
		}
	}
	if !job.BatchMarks("").Has(job.MarkLost) || job.BatchMarks("e").Has(job.MarkOK) {
		t.Error("no filter selects all, and a filter not all")
	}
}
