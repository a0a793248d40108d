package queue_test

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/queue"
	"github.com/kaa-run/kaa/internal/testenv"
)

// deaf loses the answer to the first dequeue that got a task.
type deaf struct{ lost atomic.Bool }

func (*deaf) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*deaf) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (d *deaf) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for i, cmd := range cmds {
			if _, ok := queue.IsDequeue(cmd); ok && cmd.Err() == nil && !d.lost.Swap(true) {
				for _, cmd := range cmds[i:] {
					cmd.SetErr(io.ErrUnexpectedEOF)
				}
				return io.ErrUnexpectedEOF
			}
		}
		return err
	}
}

// TestLostHandOver: Redis has handed out a task, and the connection broke before its answer came. No
// server handles the task, but its lease is valid for half a minute.
func TestLostHandOver(t *testing.T) {
	t.Parallel()
	db := testenv.Redis(t)
	tasks := make(chan job.Task, 1)
	d := new(deaf)
	var rdb redis.UniversalClient
	s := newServer(t, db.Options(), func(c *queue.ServerConfig) { rdb = c.Redis })
	rdb.AddHook(d) // now, so that it is within the gate
	if err := s.Start(t.Context(), to(tasks)); err != nil {
		t.Fatal(err)
	}
	enqueue(t, queue.NewClient(db.Client(t), 0), job.Task{JobID: "j", Attempt: 1, Queue: "default", Timeout: time.Minute})
	began := time.Now()
	if got := receive(t, tasks, "task"); got.JobID != "j" || !d.lost.Load() {
		t.Errorf("got %+v; lost %t", got, d.lost.Load())
	}
	testenv.Within(t, 15*time.Second, began)
}
