package queue_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/queue"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestTaskTravels: what a runner gets is what was enqueued, also by a Kaa that
// knew no runtimes.
func TestTaskTravels(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		task    job.Task
		payload string // sent as it is, if there is one
		want    job.Task
	}{
		{
			name: "the default runtime", task: job.Task{JobID: "j:1", Attempt: 2, Queue: "low"},
			want: job.Task{JobID: "j:1", Attempt: 2, Queue: "low"},
		},
		{
			name: "a runtime", task: job.Task{JobID: "j:1", Attempt: 2, Queue: "low", Runtime: "py-3.13_b"},
			want: job.Task{JobID: "j:1", Attempt: 2, Queue: "low", Runtime: "py-3.13_b"},
		},
		{
			name: "passed over", task: job.Task{JobID: "j:1", Attempt: 2, Queue: "low", Runtime: "py-3.13_b", Passes: 12},
			want: job.Task{JobID: "j:1", Attempt: 2, Queue: "low", Runtime: "py-3.13_b", Passes: 12},
		},
		{name: "an old payload", payload: "j:1:3", want: job.Task{JobID: "j:1", Attempt: 3, Queue: "low"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := testenv.Redis(t)
			rdb := db.Client(t)
			if tt.payload == "" {
				enqueue(t, queue.NewClient(rdb, 0), tt.task)
			} else if _, err := asynq.NewClientFromRedisClient(rdb).Enqueue(asynq.NewTask("job", []byte(tt.payload)), asynq.Queue("low")); err != nil {
				t.Fatal(err)
			}
			tasks := make(chan job.Task, 1)
			serve(t, db.Options(), to(tasks))
			if diff := cmp.Diff(tt.want, receive(t, tasks, "task")); diff != "" {
				t.Errorf("task (-want +got):\n%s", diff)
			}
		})
	}
}
