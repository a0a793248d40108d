package jobtest_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/job/jobtest"
)

func TestMoves(t *testing.T) {
	t.Parallel()
	want := map[job.State][]job.State{
		job.Scheduled: {job.Queued, job.Cancelled, job.Failed},
		job.Queued:    {job.Running, job.Cancelled, job.Failed},
		job.Running:   {job.Queued, job.Completed, job.Cancelled, job.Failed},
	}
	for _, from := range job.States() {
		var got []job.State
		for _, to := range job.States() {
			if jobtest.CanMove(from, to) {
				got = append(got, to)
			}
		}
		if diff := cmp.Diff(want[from], got); diff != "" {
			t.Errorf("moves out of %s (-want +got):\n%s", from, diff)
		}
		if got, want := from.Terminal(), len(want[from]) == 0; got != want {
			t.Errorf("%s.Terminal() = %t, want %t", from, got, want)
		}
	}
	if job.State("done").Terminal() || job.State("done").Valid() {
		t.Error("an unknown state is neither valid nor terminal")
	}
}
