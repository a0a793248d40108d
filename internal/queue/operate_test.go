package queue_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/queue"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestPausedQueue: a task that was taken before a pause goes back to its old place, and all come in their order
// when the queue is resumed. asynq's own tools see and end the same pause.
func TestPausedQueue(t *testing.T) {
	t.Parallel()
	db := testenv.Redis(t)
	rdb := db.Client(t)
	client := queue.NewClient(rdb, 0)
	for i := range 3 {
		enqueue(t, client, job.Task{JobID: fmt.Sprint(i), Attempt: 1, Queue: "default", Timeout: time.Minute})
	}
	handled := make(chan string, 10)
	first := true
	serve(t, db.Options(), func(ctx context.Context, task job.Task) error {
		if first { // one at a time
			first = false
			if err := client.Pause(ctx, "default"); err != nil {
				t.Error(err)
			}
			return fmt.Errorf("claim: %w", job.ErrPaused)
		}
		handled <- task.JobID
		return nil
	}, func(c *queue.ServerConfig) { c.Concurrency = 1 })
	testenv.Eventually(t, "the task is back", func() bool {
		s, err := client.Tasks(t.Context(), "default")
		return err == nil && s.Paused && s.Pending == 3 && s.Active == 0 && s.Retry == 0
	})
	if paused, err := client.Paused(t.Context(), []string{"default", "low"}); err != nil || len(paused) != 1 || time.Since(paused["default"]) > time.Hour {
		t.Errorf("%v, %v", paused, err)
	}
	for range 2 { // twice is once
		if err := client.Resume(t.Context(), "default"); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		if got := <-handled; got != fmt.Sprint(i) {
			t.Errorf("task %s is number %d", got, i)
		}
	}
	inspector := asynq.NewInspectorFromRedisClient(rdb)
	if err := client.Pause(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	if info, err := inspector.GetQueueInfo("default"); err != nil || !info.Paused {
		t.Errorf("asynq: %+v, %v", info, err)
	}
	if err := inspector.UnpauseQueue("default"); err != nil {
		t.Error(err)
	}
	if s, err := client.Tasks(t.Context(), "none"); err != nil || s != (job.TaskStats{Queue: "none"}) {
		t.Errorf("a queue without tasks: %+v, %v", s, err)
	}
}
