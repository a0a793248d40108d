package queue_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/queue"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestPolling: a server that polls takes what has no token, waits for none, and takes nothing
// while it is paused.
func TestPolling(t *testing.T) {
	t.Parallel()
	db := testenv.Redis(t)
	rdb := db.Client(t)
	client := queue.NewClient(rdb, 0)
	polled, others := make(chan job.Task, 10), make(chan job.Task, 10)
	server := serve(t, db.Options(), to(polled), func(c *queue.ServerConfig) { c.Polling = true })
	put := func(id string) {
		enqueue(t, client, job.Task{JobID: id, Attempt: 1, Queue: "low"})
		if err := rdb.Del(t.Context(), queue.WakeKey("low")).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"first", "second"} {
		put(id)
		if got := receive(t, polled, "task"); got.JobID != id {
			t.Errorf("took %s, want %s", got.JobID, id)
		}
	}
	if list := rdb.ClientList(t.Context()).Val(); parkedOn(list, rdb.Options().DB) != 0 {
		t.Errorf("it waits for tokens:\n%s", list)
	}
	server.Pause()
	other := serve(t, db.Options(), to(others))
	waitParked(t, rdb, 1)
	enqueue(t, client, job.Task{JobID: "third", Attempt: 1, Queue: "low"})
	receive(t, others, "task that came during the pause")
	other.Stop()
	server.Resume()
	put("fourth")
	if got := receive(t, polled, "task after the pause"); got.JobID != "fourth" {
		t.Errorf("took %s during the pause", got.JobID)
	}
}

// TestPlainClient: a plain client leaves in Redis what the other does, by asynq's own commands.
func TestPlainClient(t *testing.T) {
	t.Parallel()
	task := job.Task{JobID: "j", Attempt: 1, Queue: "low", Runtime: "py3.13"}
	one, other := testenv.Redis(t).Client(t), testenv.Redis(t).Client(t)
	plain := queue.NewPlainClient(one, 0)
	enqueue(t, plain, task)
	enqueue(t, queue.NewClient(other, 0), task)
	if diff := cmp.Diff(content(t, other), content(t, one)); diff != "" {
		t.Errorf("what is in Redis (-NewClient +NewPlainClient):\n%s", diff)
	}
	if commands := plain.EnqueueCommands(t.Context(), task); commands != nil {
		t.Errorf("it has commands to enqueue with: %v", commands)
	}
	if err := plain.Remove(t.Context(), task); err != nil {
		t.Error(err)
	}
	for _, key := range one.Keys(t.Context(), "*").Val() {
		if strings.Contains(key, ":t:") {
			t.Errorf("after Remove there is %s", key)
		}
	}
}
