package queue_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/queue"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestPause: a server that is paused gives back what it can do nothing for, in its old place;
// it takes nothing, and no token that another needs, until it is resumed.
func TestPause(t *testing.T) {
	t.Parallel()
	db := testenv.Redis(t)
	rdb := db.Client(t)
	client := queue.NewClient(rdb, 0)
	one := func(c *queue.ServerConfig) { c.Concurrency, c.Queues = 1, map[string]int{"q": 1} }
	var sick *queue.Server
	able := make(chan job.Task, 10)
	refused := make(chan job.Task, 10)
	ill := true
	sick = newServer(t, db.Options(), one)
	handler := func(_ context.Context, task job.Task) error {
		if !ill {
			able <- task
			return nil
		}
		sick.Pause()
		refused <- task
		return job.ErrNoWorker
	}
	for i := range 5 {
		enqueue(t, client, job.Task{JobID: strconv.Itoa(i), Attempt: 1, Queue: "q"})
	}
	if err := sick.Start(t.Context(), handler); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, refused, "task"); got.JobID != "0" {
		t.Fatalf("the first task is %s", got.JobID)
	}
	testenv.Eventually(t, "the task is back", func() bool { return rdb.LLen(t.Context(), "asynq:{q}:pending").Val() == 5 })
	took := make(chan job.Task, 10)
	healthy := serve(t, db.Options(), to(took), one)
	for i := range 5 {
		if got := receive(t, took, "task"); got.JobID != strconv.Itoa(i) {
			t.Errorf("task %d is of job %s", i, got.JobID)
		}
	}
	waitParked(t, rdb, 1) // the healthy one alone
	enqueue(t, client, job.Task{JobID: "5", Attempt: 1, Queue: "q"})
	receive(t, took, "task that came while one is paused")
	healthy.Stop()
	waitParked(t, rdb, 0)
	ill = false
	sick.Resume()
	waitParked(t, rdb, 1)
	enqueue(t, client, job.Task{JobID: "6", Attempt: 1, Queue: "q"})
	receive(t, able, "task after the pause")
	waitParked(t, rdb, 1)
	sick.Pause()
	waitParked(t, rdb, 0)
	if len(refused) > 0 {
		t.Errorf("it took %d tasks while it was paused", len(refused))
	}
}
