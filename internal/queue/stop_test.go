package queue_test

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/queue"
	"github.com/kaa-run/kaa/internal/testenv"
)

func TestStopWhileParked(t *testing.T) {
	t.Parallel()
	db := testenv.Redis(t)
	rdb := db.Client(t)
	s := serve(t, db.Options(), to(make(chan job.Task)))
	waitParked(t, rdb, 1)

	begin := time.Now()
	s.Stop()
	testenv.Within(t, time.Second, begin)
	waitParked(t, rdb, 0) // and does not hold Redis' connection for the rest of its poll

	tasks := make(chan job.Task)
	serve(t, db.Options(), to(tasks))
	enqueue(t, queue.NewClient(rdb, 0), job.Task{JobID: "j1", Queue: "default"})
	if got := receive(t, tasks, "task of the other server"); got.JobID != "j1" {
		t.Errorf("handled %+v", got)
	}
	closeServer(t, s)
	if err := s.Start(t.Context(), to(tasks)); !errors.Is(err, queue.ErrServerClosed) {
		t.Errorf("Start after Close: %v", err)
	}
}

func TestStopLetsHandlersFinish(t *testing.T) {
	t.Parallel()
	db := testenv.Redis(t)
	rdb := db.Client(t)
	started, finish, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	s := serve(t, db.Options(), func(ctx context.Context, _ job.Task) error {
		close(started)
		<-finish
		ended <- ctx.Err()
		return nil
	}, func(c *queue.ServerConfig) { c.ShutdownTimeout = patience })
	enqueue(t, queue.NewClient(rdb, 0), job.Task{JobID: "j1", Queue: "default"})
	receive(t, started, "start")
	s.Stop()
	time.AfterFunc(50*time.Millisecond, func() { close(finish) })
	closeServer(t, s)
	if err := receive(t, ended, "end"); err != nil {
		t.Errorf("the handler's context ended: %v", err)
	}
	if n := rdb.Exists(t.Context(), "asynq:{default}:t:j1:0").Val(); n != 0 {
		t.Error("the finished task is still there")
	}
}

func TestCloseHandsBackWhatOverruns(t *testing.T) {
	t.Parallel()
	db := testenv.Redis(t)
	rdb := db.Client(t)
	started, ended := make(chan struct{}), make(chan error, 1)
	s := serve(t, db.Options(), func(ctx context.Context, _ job.Task) error {
		close(started)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil
	})
	enqueue(t, queue.NewClient(rdb, 0), job.Task{JobID: "j1", Attempt: 3, Queue: "low", Timeout: time.Hour})
	receive(t, started, "start")

	tasks := make(chan job.Task)
	serve(t, db.Options(), to(tasks)) // IdlePoll is a minute: only a token wakes it
	waitParked(t, rdb, 2)

	begin := time.Now()
	closeServer(t, s)
	if took := time.Since(begin); took < time.Second {
		t.Errorf("Close took %s, want the ShutdownTimeout of 1s and little more", took)
	}
	testenv.Within(t, 3*time.Second, begin)
	if err := receive(t, ended, "end"); !errors.Is(err, context.Canceled) {
		t.Errorf("the handler's context: %v", err)
	}
	if got := receive(t, tasks, "task of the other server"); got.JobID != "j1" || got.Attempt != 3 || got.Queue != "low" {
		t.Errorf("handed back as %+v", got)
	}
}

func TestCloseHandsBackWhatWaitsForARetry(t *testing.T) {
	t.Parallel()
	db := testenv.Redis(t)
	rdb := db.Client(t)
	failed := make(chan struct{}, 1)
	s := serve(t, db.Options(), func(context.Context, job.Task) error {
		failed <- struct{}{}
		return errors.New("no interpreter")
	})
	enqueue(t, queue.NewClient(rdb, 0), job.Task{JobID: "j1", Queue: "low"})
	receive(t, failed, "failure")
	tasks := make(chan job.Task)
	serve(t, db.Options(), to(tasks))
	closeServer(t, s)
	if got := receive(t, tasks, "task of the other server"); got.JobID != "j1" {
		t.Errorf("handed back as %+v", got)
	}
}

func TestCloseWhileRedisIsDown(t *testing.T) {
	t.Parallel()
	server := testenv.OwnRedis(t)
	s := serve(t, server.Options(), to(make(chan job.Task)))
	waitParked(t, server.Client(t), 1)
	server.Kill()
	begin := time.Now()
	s.Stop()
	testenv.Within(t, time.Second, begin)
	closeServer(t, s)
	t.Logf("closed after %s", time.Since(begin))
}

func TestCloseIsBoundedByItsContext(t *testing.T) {
	t.Parallel()
	db := testenv.Redis(t)
	started, finish := make(chan struct{}), make(chan struct{})
	s := serve(t, db.Options(), func(context.Context, job.Task) error {
		close(started)
		<-finish // does not heed its context
		return nil
	})
	enqueue(t, queue.NewClient(db.Client(t), 0), job.Task{JobID: "j1", Queue: "low"})
	receive(t, started, "start")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v, want a deadline exceeded", err)
	}
	close(finish)
	closeServer(t, s)
}

func TestLifeCycleIsIdempotent(t *testing.T) {
	t.Parallel()
	opt := testenv.Redis(t).Options()
	closeServer(t, newServer(t, opt)) // never started
	for i := range 10 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			s := newServer(t, opt)
			var wg sync.WaitGroup
			wg.Go(func() { _ = s.Start(t.Context(), to(make(chan job.Task))) })
			for range 3 {
				wg.Go(s.Stop)
				wg.Go(func() { closeServer(t, s) })
			}
			wg.Wait()
			if err := s.Start(t.Context(), to(make(chan job.Task))); !errors.Is(err, queue.ErrServerClosed) {
				t.Errorf("Start after Close: %v", err)
			}
		})
	}
}

func TestSurvivesARestartOfRedis(t *testing.T) {
	t.Parallel()
	server := testenv.OwnRedis(t)
	rdb := server.Client(t)
	client := queue.NewClient(rdb, 0)
	logs := &logBuffer{}
	tasks := make(chan job.Task)
	seen := &counter{}
	serve(t, server.Options(), to(tasks), withLog(slog.New(slog.NewTextHandler(logs, nil))),
		func(c *queue.ServerConfig) { c.Redis.AddHook(seen) })
	waitParked(t, rdb, 1)

	server.Kill()
	testenv.Eventually(t, "the gate notices", func() bool { return logs.count("cannot take tasks") == 1 })
	before, begin := seen.count(), time.Now()
	testenv.Eventually(t, "it keeps trying", func() bool { return seen.count() >= before+2 })
	if perSecond := float64(seen.count()-before) / time.Since(begin).Seconds(); perSecond > 10 {
		t.Errorf("%.0f dequeues a second while Redis is down", perSecond)
	}
	server.Restart(t)

	enqueue(t, client, job.Task{JobID: "j1", Queue: "default"})
	receive(t, tasks, "task after the restart")
	waitParked(t, rdb, 1)
	if n := logs.count("cannot take tasks"); n != 1 {
		t.Errorf("%d warnings, want 1", n)
	}
}

func TestStartsWhileRedisIsDown(t *testing.T) {
	t.Parallel()
	server := testenv.OwnRedis(t)
	server.Kill()
	tasks := make(chan job.Task)
	logs := &logBuffer{}
	serve(t, server.Options(), to(tasks), withLog(slog.New(slog.NewTextHandler(logs, nil))))
	server.Restart(t)
	rdb := server.Client(t)
	enqueue(t, queue.NewClient(rdb, 0), job.Task{JobID: "j1", Queue: "default"})
	receive(t, tasks, "task")
	waitParked(t, rdb, 1)
	if n := logs.count("polling"); n != 0 {
		t.Error("a Redis that was down was taken for an asynq that is different")
	}
}

func TestIdleLoad(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	server := testenv.OwnRedis(t)
	rdb := server.Client(t)
	serve(t, server.Options(), to(make(chan job.Task)), func(c *queue.ServerConfig) { c.IdlePoll = 0 })
	waitParked(t, rdb, 1)
	if got := idleLoad(t, rdb, 15*time.Second); got > 3 {
		t.Errorf("an idle server costs %.2f commands a second, want at most 3", got)
	}
}

// idleLoad returns how many commands a second Redis processes.
func idleLoad(tb testing.TB, rdb *redis.Client, window time.Duration) float64 {
	tb.Helper()
	before, begin := testenv.Commands(tb.Context(), rdb), time.Now()
	<-time.After(window)
	return float64(testenv.Commands(tb.Context(), rdb)-before-1) / time.Since(begin).Seconds()
}
