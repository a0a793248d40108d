package queue_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/queue"
	"github.com/kaa-run/kaa/internal/testenv"
)

func TestEnqueueStoresTheTaskAndOneToken(t *testing.T) {
	t.Parallel()
	rdb := testenv.Redis(t).Client(t)
	client := queue.NewClient(rdb, 10*time.Second)
	inspect := asynq.NewInspectorFromRedisClient(rdb)

	// The first script that Redis sees is refused and sent again: its token is, too.
	enqueue(t, client, job.Task{JobID: "j0", Queue: "default"})

	enqueue(t, client, job.Task{JobID: "j1", Attempt: 2, Queue: "low", Timeout: 1500 * time.Millisecond})

	info, err := inspect.GetTaskInfo("low", "j1:2")
	if err != nil {
		t.Fatalf("GetTaskInfo: %v", err)
	}
	if string(info.Payload) != "j1:2" || info.Timeout != 72*time.Second || info.MaxRetry == 0 || info.Retention != 0 {
		t.Errorf("task = payload %q, timeout %s, max retry %d, retention %s", info.Payload, info.Timeout, info.MaxRetry, info.Retention)
	}
	if n := rdb.LLen(t.Context(), queue.WakeKey("low")).Val(); n != 1 {
		t.Errorf("%d wake tokens, want 1", n)
	}
	enqueue(t, client, job.Task{JobID: "j2", Attempt: 1, Queue: "critical", Runtime: "py3.13"})
	if info, err := inspect.GetTaskInfo("critical", "j2:1"); err != nil || string(info.Payload) != "j2:1@py3.13" {
		t.Errorf("task with a runtime = %+v, %v", info, err)
	}
	if ttl := rdb.TTL(t.Context(), queue.WakeKey("low")).Val(); ttl <= 0 || ttl > time.Minute {
		t.Errorf("wake list lives for %s, want up to a minute", ttl)
	}
}

func TestEnqueueIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	rdb := testenv.Redis(t).Client(t)
	client := queue.NewClient(rdb, 0)
	enqueue(t, client, job.Task{JobID: "first", Queue: "default"}) // loads the script
	var n trips
	rdb.AddHook(&n)
	enqueue(t, client, job.Task{JobID: "second", Queue: "default"})
	if n != 1 {
		t.Errorf("Enqueue made %d round trips, want 1", n)
	}
}

// TestEnqueueCommandsAreAsynqs pins what EnqueueCommands knows of asynq: if it fails after
// an update, jobs take two round trips until that is adapted.
func TestEnqueueCommandsAreAsynqs(t *testing.T) {
	t.Parallel()
	task := job.Task{JobID: "j1", Attempt: 1, Queue: "low", Runtime: "py3.13", Timeout: 1500 * time.Millisecond}
	theirs, db := testenv.Redis(t).Client(t), testenv.Redis(t)
	ours := db.Client(t)
	enqueue(t, queue.NewClient(theirs, 0), job.Task{JobID: "j0", Queue: "other"}) // loads the script
	enqueue(t, queue.NewClient(theirs, 0), task)
	theirs.Del(t.Context(), "asynq:{other}:t:j0:0", "asynq:{other}:pending", queue.WakeKey("other"))
	theirs.SRem(t.Context(), "asynq:queues", "other")

	commands := queue.NewClient(ours, 0).EnqueueCommands(t.Context(), task)
	if commands == nil {
		t.Fatal("asynq's script is not the known one")
	}
	if n := ours.LLen(t.Context(), "asynq:{low}:pending").Val(); n != 0 {
		t.Error("the task is on its queue before the commands were run")
	}
	for _, command := range commands {
		if err := ours.Do(t.Context(), command...).Err(); err != nil {
			t.Errorf("%v: %v", command[0], err)
		}
	}
	if diff := cmp.Diff(content(t, theirs), content(t, ours)); diff != "" {
		t.Errorf("what is in Redis (-Enqueue +EnqueueCommands):\n%s", diff)
	}
	tasks := make(chan job.Task)
	serve(t, db.Options(), to(tasks))
	if got := receive(t, tasks, "task"); got.JobID != "j1" || got.Attempt != 1 || got.Runtime != "py3.13" {
		t.Errorf("handled %+v", got)
	}
	if commands := queue.NewClient(noSingle{ours}, 0).EnqueueCommands(t.Context(), task); commands != nil {
		t.Error("there are commands for a cluster, too, where one step cannot run them")
	}
}

// TestEnqueueCommandsNeedNoRedis: the store asks for the commands of a batch's tasks one by one,
// which must not take a round trip each while Redis hangs. And they publish their queue by themselves:
// that they were made does not mean that they are run.
func TestEnqueueCommandsNeedNoRedis(t *testing.T) {
	t.Parallel()
	rdb := testenv.Redis(t).Client(t)
	client := queue.NewClient(rdb, 0)
	var n trips
	rdb.AddHook(&n)
	task := job.Task{JobID: "j1", Attempt: 1, Queue: "low"}
	if client.EnqueueCommands(t.Context(), task) == nil || n != 0 {
		t.Errorf("made %d round trips to make commands, want 0", n)
	}
	enqueue(t, client, task) // as for a job that was held
	if queues := rdb.SMembers(t.Context(), "asynq:queues").Val(); len(queues) != 1 || queues[0] != "low" {
		t.Errorf("asynq knows the queues %q, want low", queues)
	}
	if err := client.Remove(t.Context(), task); err != nil || rdb.LLen(t.Context(), "asynq:{low}:pending").Val() != 0 {
		t.Errorf("the task was not removed (%v)", err)
	}
}

// content is all that a database holds, but for times.
func content(t *testing.T, rdb *redis.Client) map[string]any {
	t.Helper()
	all := map[string]any{}
	for _, key := range rdb.Keys(t.Context(), "*").Val() {
		switch kind := rdb.Type(t.Context(), key).Val(); kind {
		case "hash":
			hash := rdb.HGetAll(t.Context(), key).Val()
			if _, ok := hash["pending_since"]; ok {
				hash["pending_since"] = "some time"
			}
			all[key] = hash
		case "list":
			all[key] = rdb.LRange(t.Context(), key, 0, -1).Val()
		case "set":
			all[key] = rdb.SMembers(t.Context(), key).Val()
		default:
			t.Errorf("%s is a %s", key, kind)
		}
		all[key+" expires"] = rdb.TTL(t.Context(), key).Val() > 0
	}
	return all
}

// trips is a hook that counts round trips.
type trips int

func (n *trips) DialHook(next redis.DialHook) redis.DialHook { return next }

func (n *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { *n++; return next(ctx, cmd) }
}

func (n *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { *n++; return next(ctx, cmds) }
}

func TestEnqueueAgainIsSuccess(t *testing.T) {
	t.Parallel()
	rdb := testenv.Redis(t).Client(t)
	client := queue.NewClient(rdb, 0)
	task := job.Task{JobID: "j1", Queue: "default"}
	enqueue(t, client, task, task, task)
	if n := rdb.LLen(t.Context(), "asynq:{default}:pending").Val(); n != 1 {
		t.Errorf("%d tasks pending, want 1", n)
	}
}

func TestTokensAreBounded(t *testing.T) {
	t.Parallel()
	rdb := testenv.Redis(t).Client(t)
	client := queue.NewClient(rdb, 0)
	for i := range queue.MaxTokens + 20 {
		enqueue(t, client, job.Task{JobID: strconv.Itoa(i), Queue: "default"})
	}
	if n := rdb.LLen(t.Context(), queue.WakeKey("default")).Val(); n != queue.MaxTokens {
		t.Errorf("%d wake tokens, want %d", n, queue.MaxTokens)
	}
}

func TestEnqueueErrors(t *testing.T) {
	t.Parallel()
	down := errors.New("connection refused")
	valid := job.Task{JobID: "j1", Queue: "default"}
	tests := []struct {
		name        string
		task        job.Task
		fault       func(redis.Cmder) error
		cancelled   bool
		wantErr     bool
		unavailable bool
	}{
		{"all well", valid, nil, false, false, false},
		{"no job", job.Task{Queue: "default"}, nil, false, true, false},
		{"no queue", job.Task{JobID: "j1"}, nil, false, true, false},
		{"colon in the runtime", job.Task{JobID: "j1", Queue: "default", Runtime: "a:1"}, nil, false, true, false},
		{"negative timeout", job.Task{JobID: "j1", Queue: "default", Timeout: -1}, nil, false, true, false},
		{"redis is down", valid, func(redis.Cmder) error { return down }, false, true, true},
		{"the token fails, the task does not", valid, failing("expire", down), false, false, false},
		{"the caller has gone", valid, nil, true, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rdb := testenv.Redis(t).Client(t)
			faults := &testenv.Faults{}
			rdb.AddHook(lastOnly{faults})
			faults.Fail(tt.fault)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tt.cancelled {
				cancel()
			}
			err := queue.NewClient(rdb, 0).Enqueue(ctx, tt.task)
			if (err != nil) != tt.wantErr {
				t.Fatalf("error = %v, want one: %v", err, tt.wantErr)
			}
			if got := errors.Is(err, job.ErrUnavailable); got != tt.unavailable {
				t.Errorf("%v is job.ErrUnavailable: %v, want %v", err, got, tt.unavailable)
			}
			if tt.cancelled && !errors.Is(err, context.Canceled) {
				t.Errorf("%v does not say context.Canceled", err)
			}
		})
	}
}

// failing makes one command fail.
func failing(name string, err error) func(redis.Cmder) error {
	return func(cmd redis.Cmder) error {
		if cmd.Name() == name {
			return err
		}
		return nil
	}
}

// lastOnly lets a pipeline run and then fails the commands that are to fail, like a
// Redis that refuses one of them.
type lastOnly struct{ *testenv.Faults }

func (h lastOnly) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			one := h.ProcessHook(func(context.Context, redis.Cmder) error { return nil })
			if failed := one(ctx, cmd); failed != nil && err == nil {
				err = failed
			}
		}
		return err
	}
}

func TestRemove(t *testing.T) {
	t.Parallel()
	task := job.Task{JobID: "j1", Queue: "default"}

	t.Run("pending", func(t *testing.T) {
		t.Parallel()
		rdb := testenv.Redis(t).Client(t)
		client := queue.NewClient(rdb, 0)
		enqueue(t, client, task)
		if err := client.Remove(t.Context(), task); err != nil {
			t.Fatalf("Remove: %v", err)
		}
		if n := rdb.Exists(t.Context(), "asynq:{default}:pending", "asynq:{default}:t:j1:0").Val(); n != 0 {
			t.Errorf("%d keys of the task are left", n)
		}
	})
	t.Run("unknown queue and unknown task", func(t *testing.T) {
		t.Parallel()
		client := queue.NewClient(testenv.Redis(t).Client(t), 0)
		if err := client.Remove(t.Context(), task); err != nil {
			t.Errorf("unknown queue: %v", err)
		}
		enqueue(t, client, job.Task{JobID: "other", Queue: "default"})
		if err := client.Remove(t.Context(), task); err != nil {
			t.Errorf("unknown task: %v", err)
		}
	})
	t.Run("active", func(t *testing.T) {
		t.Parallel()
		db := testenv.Redis(t)
		client := queue.NewClient(db.Client(t), 0)
		started, finish := make(chan struct{}), make(chan struct{})
		serve(t, db.Options(), func(context.Context, job.Task) error {
			close(started)
			<-finish
			return nil
		})
		enqueue(t, client, task)
		receive(t, started, "start")
		if err := client.Remove(t.Context(), task); err != nil {
			t.Errorf("Remove: %v", err)
		}
		close(finish)
	})
	t.Run("redis is down", func(t *testing.T) {
		t.Parallel()
		rdb := testenv.Redis(t).Client(t)
		faults := &testenv.Faults{}
		rdb.AddHook(faults)
		faults.Fail(func(redis.Cmder) error { return errors.New("connection refused") })
		client := queue.NewClient(rdb, 0)
		if err := client.Remove(t.Context(), task); !errors.Is(err, job.ErrUnavailable) {
			t.Errorf("Remove: %v, want job.ErrUnavailable", err)
		}
		if err := client.Wake(t.Context(), "default"); !errors.Is(err, job.ErrUnavailable) {
			t.Errorf("Wake: %v, want job.ErrUnavailable", err)
		}
	})
}
