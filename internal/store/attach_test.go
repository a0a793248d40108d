package store_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// TestOutput: each follower gets all from its mark on, what all have taken is removed, and without followers nothing is
// kept.
func TestOutput(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{})
	ctx := t.Context()
	s := b.openLaned(t)
	id := b.create(t, newJob(inLane(s.ID, job.LaneBeside)))
	c, err := b.NextInSession(ctx, s.ID, job.Beside(id), "r", true)
	if err != nil {
		t.Fatal(err)
	}
	before := b.held(t)
	write := func(at uint64, text string) (taken uint64, followed bool) {
		t.Helper()
		for range 2 { // as after an answer that was lost
			if taken, followed, err = b.AppendOutput(ctx, *c, false, job.CommandOutput{At: at, Kind: job.OutputStdout, Data: []byte(text)}); err != nil {
				t.Fatal(err)
			}
		}
		return taken, followed
	}
	attach := func(name string, at uint64) {
		t.Helper()
		for range 2 {
			if err := b.AttachOutput(ctx, *c, name, at, 7); err != nil {
				t.Fatal(err)
			}
		}
	}
	take := func(name string, at uint64, wantLost bool) {
		t.Helper()
		if lost, err := b.TookOutput(ctx, id, name, at); err != nil || lost != wantLost {
			t.Errorf("%s took up to %d: lost %v, %v", name, at, lost, err)
		}
	}
	if _, followed := write(1, "x"); followed || b.rdb.Exists(ctx, "{kaa}:job:"+id+":output").Val() != 0 {
		t.Error("output without followers is kept")
	}
	attach("a", 2)
	write(3, "b\xff")
	attach("b", 4)
	if taken, followed := write(5, "c"); taken != 1 || !followed {
		t.Errorf("taken %d, followed %v", taken, followed)
	}
	take("a", 5, false)
	if taken, _ := write(6, "d"); taken != 3 {
		t.Errorf("taken %d, want as far as the slower follower", taken)
	}
	got, err := b.Output(ctx, id, 0, 0, 10)
	want := []job.CommandOutput{{Attempt: 1, At: 4, Kind: "mark", Data: []byte("b 7")}, {Attempt: 1, At: 5, Kind: "stdout", Data: []byte("c")}, {Attempt: 1, At: 6, Kind: "stdout", Data: []byte("d")}}
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := b.Output(ctx, id, 1, 5, 10); err != nil || !cmp.Equal(got, want[2:]) {
		t.Errorf("after 5: %+v, %v", got, err)
	}
	take("other", 6, true)
	if held := b.held(t) - before; held < job.AttachCost {
		t.Errorf("followers count %d bytes", held)
	}
	for _, name := range []string{"a", "b", "b"} {
		if err := b.LeaveOutput(ctx, id, name); err != nil {
			t.Fatal(err)
		}
	}
	if n := b.rdb.Exists(ctx, "{kaa}:job:"+id+":output").Val(); n != 0 {
		t.Error("output of followers that have gone is kept")
	}
	if _, _, err := b.FinishInSession(ctx, *c, job.Outcome{State: job.Completed, Result: &job.Result{Status: job.StatusOK}}); err != nil {
		t.Fatal(err)
	}
	if held := b.held(t) - before; held >= job.AttachCost {
		t.Errorf("followers count %d bytes after the end", held)
	}
	if _, _, err := b.AppendOutput(ctx, *c, false); !errors.Is(err, job.ErrStale) {
		t.Errorf("after the end: %v", err)
	}
}
