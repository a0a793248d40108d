package queue_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/queue"
	"github.com/kaa-run/kaa/internal/testenv"
)

// tally counts what three servers handle.
type tally struct {
	mu    sync.Mutex
	byJob map[string]int
	by    [3]int
}

func (c *tally) handler(server int) queue.Handler {
	return func(_ context.Context, t job.Task) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.byJob[fmt.Sprintf("%s/%s:%d", t.Queue, t.JobID, t.Attempt)]++
		c.by[server]++
		return nil
	}
}

func (c *tally) total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.by[0] + c.by[1] + c.by[2]
}

func handleOnce(t *testing.T, opt *redis.Options, jobs int) *tally {
	t.Helper()
	rdb := redis.NewClient(opt)
	t.Cleanup(func() { _ = rdb.Close() })
	client := queue.NewClient(rdb, 0)
	c := &tally{byJob: map[string]int{}}
	for i := range c.by {
		serve(t, opt, c.handler(i), func(c *queue.ServerConfig) { c.Concurrency = 4 })
	}
	names := []string{"critical", "default", "low"}
	var wg sync.WaitGroup
	for producer := range 8 {
		wg.Go(func() {
			for i := producer; i < jobs; i += 8 {
				enqueue(t, client, job.Task{JobID: "j:" + strconv.Itoa(i), Attempt: 1, Queue: names[i%3], Timeout: time.Minute})
			}
		})
	}
	wg.Wait()
	testenv.Eventually(t, "all tasks are handled", func() bool { return c.total() >= jobs })
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.byJob) != jobs {
		t.Errorf("%d different tasks were handled, want %d", len(c.byJob), jobs)
	}
	for id, n := range c.byJob {
		if n != 1 {
			t.Errorf("%s was handled %d times", id, n)
		}
	}
	return c
}

func TestThreeServersHandleEachTaskOnce(t *testing.T) {
	t.Parallel()
	db := testenv.Redis(t)
	c := handleOnce(t, db.Options(), 2000)
	for i, n := range c.by {
		if n == 0 {
			t.Errorf("server %d of 3 handled nothing: %v", i, c.by)
		}
	}
	// Nothing of a task is left once it is done.
	rdb := db.Client(t)
	testenv.Eventually(t, "no task is left", func() bool {
		keys, _ := rdb.Keys(t.Context(), "asynq:{*}:*").Result()
		for _, key := range keys {
			if !strings.Contains(key, ":processed") { // asynq's statistics, a handful
				return false
			}
		}
		return len(keys) > 0
	})
}

func TestWorksOnMiniredis(t *testing.T) {
	t.Parallel()
	handleOnce(t, &redis.Options{Addr: miniredis.RunT(t).Addr()}, 200)
}

func TestHeavierQueuesGoFirst(t *testing.T) {
	t.Parallel()
	db := testenv.Redis(t)
	client := queue.NewClient(db.Client(t), 0)
	const each = 200
	for i := range each {
		for name := range threeQueues() {
			enqueue(t, client, job.Task{JobID: strconv.Itoa(i), Queue: name})
		}
	}
	tasks := make(chan job.Task, 3*each)
	serve(t, db.Options(), to(tasks), func(c *queue.ServerConfig) { c.Concurrency = 1 })
	got := map[string]int{}
	for range each {
		got[receive(t, tasks, "task").Queue]++
	}
	if got["critical"] <= got["default"] || got["default"] <= got["low"] || got["low"] == 0 {
		t.Errorf("of the first %d tasks %v; want most critical, then default, some low", each, got)
	}
}

func TestATaskWakesOneServer(t *testing.T) {
	t.Parallel()
	db := testenv.Redis(t)
	rdb := db.Client(t)
	tasks := make(chan job.Task)
	seen := [3]*counter{}
	for i := range seen {
		seen[i] = &counter{}
		serve(t, db.Options(), to(tasks), func(c *queue.ServerConfig) { c.Redis.AddHook(seen[i]) })
	}
	waitParked(t, rdb, 3)
	before := [3]int{}
	for i, c := range seen {
		before[i] = c.count()
	}
	client := queue.NewClient(rdb, 0)
	// The first script may be refused and sent again, with two tokens.
	enqueue(t, client, job.Task{JobID: "warm up", Queue: "other"})
	enqueue(t, client, job.Task{JobID: "j1", Queue: "low"})
	receive(t, tasks, "task")
	waitParked(t, rdb, 3)
	woken := 0
	for i, c := range seen {
		if c.count() > before[i] {
			woken++
		}
	}
	if woken != 1 {
		t.Errorf("%d servers looked for the task, want 1", woken)
	}
}

// TestATaskIsTakenInOneTrip: with its token, before it, and a look at all queues after it.
func TestATaskIsTakenInOneTrip(t *testing.T) {
	t.Parallel()
	db := testenv.Redis(t)
	rdb := db.Client(t)
	client := queue.NewClient(rdb, 0)
	const jobs = 20
	for i := range jobs {
		enqueue(t, client, job.Task{JobID: strconv.Itoa(i), Queue: "low"})
	}
	seen := &pipelines{}
	tasks := make(chan job.Task)
	serve(t, db.Options(), to(tasks), func(c *queue.ServerConfig) { c.Redis.AddHook(seen) })
	for range jobs {
		receive(t, tasks, "task")
	}
	waitParked(t, rdb, 1)
	if n := rdb.Exists(t.Context(), queue.WakeKey("low")).Val(); n != 0 {
		t.Error("tokens are left of tasks that were taken")
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	// The script may not have been loaded, and the server looks once more before it parks. It asks the other queues as often as
	// emptyFor has passed.
	low := 0
	for _, key := range seen.keys {
		if key == "asynq:{low}:pending" {
			low++
		}
	}
	if low < jobs || low > jobs+2 {
		t.Errorf("%d dequeues for %d tasks", low, jobs)
	}
	if got, want := seen.names[len(seen.names)-1], "lpop evalsha exists exists exists"; got != want {
		t.Errorf("a dequeue was %q, want %q", got, want)
	}
}

// pipelines is a hook that records the names of the commands in each that has a dequeue, and the list of that.
type pipelines struct {
	mu    sync.Mutex
	names []string
	keys  []string
}

func (p *pipelines) DialHook(next redis.DialHook) redis.DialHook { return next }

func (p *pipelines) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (p *pipelines) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		names, key := make([]string, len(cmds)), ""
		for i, cmd := range cmds {
			names[i] = cmd.Name()
			if list, ok := queue.IsDequeue(cmd); ok {
				key = list
			}
		}
		if key != "" {
			p.mu.Lock()
			p.names, p.keys = append(p.names, strings.Join(names, " ")), append(p.keys, key)
			p.mu.Unlock()
		}
		return next(ctx, cmds)
	}
}

func TestFailedHandlerGetsTheTaskAgain(t *testing.T) {
	t.Parallel()
	db := testenv.Redis(t)
	client := queue.NewClient(db.Client(t), 0)
	calls := make(chan time.Time, 10)
	serve(t, db.Options(), func(context.Context, job.Task) error {
		calls <- time.Now()
		if len(calls) < 3 {
			return errors.New("no interpreter")
		}
		return nil
	})
	enqueue(t, client, job.Task{JobID: "j1", Queue: "default"})
	testenv.Eventually(t, "third call", func() bool { return len(calls) == 3 })
	first, second := <-calls, <-calls
	pause := second.Sub(first)
	if pause < queue.RetryDelay {
		t.Errorf("came again after %s, want about %s", pause, queue.RetryDelay)
	}
	testenv.Took(t, 5*queue.RetryDelay, pause)
}

func TestForeignPayloadIsDropped(t *testing.T) {
	t.Parallel()
	db := testenv.Redis(t)
	rdb := db.Client(t)
	logs := &logBuffer{}
	for i, payload := range []string{"", ":1", "job", "job:", "job:-1", "job:x", "job:1@", "job:x@py"} {
		_, err := asynq.NewClientFromRedisClient(rdb).Enqueue(asynq.NewTask("job", []byte(payload)),
			asynq.Queue("default"), asynq.TaskID(strconv.Itoa(i)))
		if err != nil {
			t.Fatalf("enqueue: %v", err)
		}
	}
	tasks := make(chan job.Task)
	serve(t, db.Options(), to(tasks), withLog(slog.New(slog.NewTextHandler(logs, nil))))
	enqueue(t, queue.NewClient(rdb, 0), job.Task{JobID: "j1", Queue: "default"})
	if got := receive(t, tasks, "good task"); got.JobID != "j1" {
		t.Errorf("handled %+v", got)
	}
	testenv.Eventually(t, "nothing is left of them", func() bool {
		n, err := rdb.Exists(t.Context(), "asynq:{default}:pending", "asynq:{default}:active",
			"asynq:{default}:retry", "asynq:{default}:archived", "asynq:{default}:t:0").Result()
		return err == nil && n == 0
	})
	if n := logs.count("not ours"); n != 8 {
		t.Errorf("%d drops in the log, want 8", n)
	}
}

func TestTaskOfADeadServerIsNotArchived(t *testing.T) {
	t.Parallel()
	db := testenv.Redis(t)
	rdb := db.Client(t)
	enqueue(t, queue.NewClient(rdb, 0), job.Task{JobID: "j1", Queue: "default"})
	// A server dequeued it, and died long ago.
	rdb.LMove(t.Context(), "asynq:{default}:pending", "asynq:{default}:active", "RIGHT", "LEFT")
	rdb.HSet(t.Context(), "asynq:{default}:t:j1:0", "state", "active")
	rdb.ZAdd(t.Context(), "asynq:{default}:lease", redis.Z{Score: 1, Member: "j1:0"})

	serve(t, db.Options(), to(make(chan job.Task)))
	testenv.Eventually(t, "asynq's recoverer puts it back", func() bool {
		return rdb.ZCard(t.Context(), "asynq:{default}:retry").Val() == 1
	})
	if n := rdb.Exists(t.Context(), "asynq:{default}:archived").Val(); n != 0 {
		t.Error("it was archived")
	}
	info, err := asynq.NewInspectorFromRedisClient(rdb).GetTaskInfo("default", "j1:0")
	if err != nil || info.Retried != 0 {
		t.Errorf("retries are counted, so they run out: %+v, %v", info, err)
	}
}

// noSingle is a client that is not known to be one of a single server.
type noSingle struct{ *redis.Client }

// TestReclaim: the tasks of a dead server are handled without asynq's recoverer, and those of a live
// server are left alone.
func TestReclaim(t *testing.T) {
	t.Parallel()
	db := testenv.Redis(t)
	rdb := db.Client(t)
	client := queue.NewClient(rdb, 0)
	for id, lease := range map[string]time.Duration{"dead": 19 * time.Second, "alive": 25 * time.Second} {
		enqueue(t, client, job.Task{JobID: id, Queue: "default", Timeout: time.Minute})
		rdb.LMove(t.Context(), "asynq:{default}:pending", "asynq:{default}:active", "RIGHT", "LEFT")
		rdb.HSet(t.Context(), "asynq:{default}:t:"+id+":0", "state", "active")
		rdb.ZAdd(t.Context(), "asynq:{default}:lease", redis.Z{Score: float64(time.Now().Add(lease).Unix()), Member: id + ":0"})
	}
	tasks := make(chan job.Task)
	serve(t, db.Options(), to(tasks), func(c *queue.ServerConfig) { c.IdlePoll = time.Minute })
	waitParked(t, rdb, 1)
	if n, err := client.Reclaim(t.Context(), "critical", "default", "low"); n != 1 || err != nil {
		t.Fatalf("Reclaim = %d, %v, want 1", n, err)
	}
	if got := receive(t, tasks, "task"); got.JobID != "dead" {
		t.Errorf("handled %s, want dead", got.JobID)
	}
	if ids := rdb.LRange(t.Context(), "asynq:{default}:active", 0, -1).Val(); !slices.Contains(ids, "alive:0") {
		t.Errorf("active tasks = %v, want alive:0 among them", ids)
	}
	if n, err := client.Reclaim(t.Context(), "default"); n != 0 || err != nil {
		t.Errorf("a second Reclaim = %d, %v, want 0", n, err)
	}
}

func TestTaskWithoutATokenIsFound(t *testing.T) {
	t.Parallel()
	for _, single := range []bool{true, false} {
		t.Run("single server "+strconv.FormatBool(single), func(t *testing.T) {
			t.Parallel()
			db := testenv.Redis(t)
			rdb := db.Client(t)
			tasks := make(chan job.Task)
			serve(t, db.Options(), to(tasks), func(c *queue.ServerConfig) {
				c.IdlePoll = time.Second
				if !single {
					c.Redis = noSingle{rdb}
				}
			})
			waitParked(t, rdb, 1)
			_, err := asynq.NewClientFromRedisClient(rdb).Enqueue(asynq.NewTask("job", []byte("j1:0")), asynq.Queue("low"))
			if err != nil {
				t.Fatalf("enqueue: %v", err)
			}
			receive(t, tasks, "task")
		})
	}
}

// TestLeaseIsFresh: a task that comes after a long idle time has all of asynq's
// lease, else asynq would take its server for dead while it runs.
func TestLeaseIsFresh(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	db := testenv.Redis(t)
	rdb := db.Client(t)
	leases := make(chan time.Duration, 1)
	serve(t, db.Options(), func(ctx context.Context, task job.Task) error {
		until, err := rdb.ZScore(ctx, "asynq:{only}:lease", fmt.Sprintf("%s:%d", task.JobID, task.Attempt)).Result()
		leases <- time.Until(time.Unix(int64(until), 0))
		return err
	}, func(c *queue.ServerConfig) { c.Queues = map[string]int{"only": 1} })
	waitParked(t, rdb, 1)
	const idle = 6 * time.Second
	<-time.After(idle)
	enqueue(t, queue.NewClient(rdb, 0), job.Task{JobID: "j", Attempt: 1, Queue: "only", Timeout: time.Minute})
	if lease := receive(t, leases, "task"); lease < 30*time.Second-idle+2*time.Second {
		t.Errorf("after %s of idleness a task's lease ends in %s", idle, lease)
	}
}

func TestFallsBackToPolling(t *testing.T) {
	t.Parallel()
	db := testenv.Redis(t)
	logs := &logBuffer{}
	tasks := make(chan job.Task)
	serve(t, db.Options(), to(tasks), withLog(slog.New(slog.NewTextHandler(logs, nil))),
		func(c *queue.ServerConfig) { c.Redis.AddHook(disguise{}) })
	if n := logs.count("level=ERROR"); n != 1 {
		t.Errorf("%d errors in the log, want 1", n)
	}
	client := queue.NewClient(db.Client(t), 0)
	for i := range 20 {
		want := strconv.Itoa(i)
		enqueue(t, client, job.Task{JobID: want, Queue: "low"})
		if got := receive(t, tasks, "task"); got.JobID != want {
			t.Errorf("handled %s, want %s", got.JobID, want)
		}
	}
}

// disguise stands for another asynq: it changes the dequeue script's shape before
// the gate sees it. The script does not mind one argument more.
type disguise struct{}

func (disguise) DialHook(next redis.DialHook) redis.DialHook { return next }

func (disguise) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (disguise) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		original, ok := cmd.(*redis.Cmd)
		if _, dequeue := queue.IsDequeue(cmd); !dequeue || !ok {
			return next(ctx, cmd)
		}
		other := redis.NewCmd(ctx, append(append([]any{}, cmd.Args()...), "more")...)
		err := next(ctx, other)
		original.SetVal(other.Val())
		return err
	}
}

func TestServerConfigIsChecked(t *testing.T) {
	t.Parallel()
	rdb := testenv.Redis(t).Client(t)
	valid := queue.ServerConfig{
		Redis: rdb, Blocking: rdb, Queues: threeQueues(), Concurrency: 1, Log: slog.New(slog.DiscardHandler),
	}
	tests := []struct {
		name   string
		change func(*queue.ServerConfig)
		want   string
	}{
		{"no redis", func(c *queue.ServerConfig) { c.Redis = nil }, "Redis is missing"},
		{"no blocking", func(c *queue.ServerConfig) { c.Blocking = nil }, "Blocking is missing"},
		{"no log", func(c *queue.ServerConfig) { c.Log = nil }, "Log is missing"},
		{"no queues", func(c *queue.ServerConfig) { c.Queues = nil }, "Queues is empty"},
		{"queue without name", func(c *queue.ServerConfig) { c.Queues = map[string]int{" ": 1} }, "without a name"},
		{"weight 0", func(c *queue.ServerConfig) { c.Queues = map[string]int{"q": 0} }, `"q" has weight 0`},
		{"concurrency 0", func(c *queue.ServerConfig) { c.Concurrency = 0 }, "Concurrency is 0"},
		{"negative timeout", func(c *queue.ServerConfig) { c.ShutdownTimeout = -1 }, "ShutdownTimeout is"},
		{"short poll", func(c *queue.ServerConfig) { c.IdlePoll = time.Millisecond }, "IdlePoll is 1ms"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := valid
			tt.change(&cfg)
			if _, err := queue.NewServer(cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one with %q", err, tt.want)
			}
		})
	}
}
