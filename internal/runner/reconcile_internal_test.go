package runner

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
)

// unwantedTasks has tasks that no job waits for. The reconciler is closed when it deletes the first.
type unwantedTasks struct {
	Reconciliation
	TaskLists
	stop    context.CancelFunc
	deleted int
}

func (*unwantedTasks) MendQueue(context.Context, string) (map[string]int, []job.Task, error) {
	return nil, make([]job.Task, 300), nil
}

func (*unwantedTasks) Unwanted(_ context.Context, tasks []job.Task) ([]job.Task, error) {
	return tasks, nil
}

func (u *unwantedTasks) Delete(context.Context, job.Task) (bool, error) {
	u.deleted++
	u.stop()
	return true, nil
}

// TestClosedReconciler: a stop waits for one deletion, and not for all that are to come.
func TestClosedReconciler(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	u := &unwantedTasks{stop: stop}
	r := NewReconciler([]string{"default"}, u, u, func(string, int) {}, Periods{}, slog.New(slog.DiscardHandler))
	if err := r.reconcileTasks(ctx, "default"); !errors.Is(err, context.Canceled) || u.deleted != 1 {
		t.Errorf("%d tasks were deleted: %v", u.deleted, err)
	}
}
