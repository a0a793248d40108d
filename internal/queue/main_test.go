package queue_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/queue"
	"github.com/kaa-run/kaa/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// patience is for what should take milliseconds, on a machine that is busy.
const patience = testenv.Timeout

func threeQueues() map[string]int {
	return map[string]int{"critical": 6, "default": 3, "low": 1}
}

// serve starts a server on the Redis that opt leads to; change may adapt its
// configuration. It is closed when the test ends.
func serve(tb testing.TB, opt *redis.Options, h queue.Handler, change ...func(*queue.ServerConfig)) *queue.Server {
	tb.Helper()
	s := newServer(tb, opt, change...)
	if err := s.Start(tb.Context(), h); err != nil {
		tb.Fatalf("Start: %v", err)
	}
	return s
}

func newServer(tb testing.TB, opt *redis.Options, change ...func(*queue.ServerConfig)) *queue.Server {
	tb.Helper()
	rdb, blocking := redis.NewClient(opt), redis.NewClient(opt)
	cfg := queue.ServerConfig{
		Redis: rdb, Blocking: blocking, Queues: threeQueues(), Concurrency: 16,
		ShutdownTimeout: time.Second, IdlePoll: time.Minute, Log: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&cfg)
	}
	s, err := queue.NewServer(cfg)
	if err != nil {
		tb.Fatalf("NewServer: %v", err)
	}
	tb.Cleanup(func() {
		closeServer(tb, s)
		_ = rdb.Close()
		_ = blocking.Close()
	})
	return s
}

func closeServer(tb testing.TB, s *queue.Server) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		tb.Errorf("Close: %v", err)
	}
}

func withLog(log *slog.Logger) func(*queue.ServerConfig) {
	return func(c *queue.ServerConfig) { c.Log = log }
}

// to is a handler that sends the tasks to a channel.
func to(tasks chan<- job.Task) queue.Handler {
	return func(ctx context.Context, t job.Task) error {
		select {
		case tasks <- t:
		case <-ctx.Done():
		}
		return nil
	}
}

func receive[T any](tb testing.TB, c <-chan T, what string) T {
	tb.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		tb.Fatalf("no %s within %s", what, patience)
		panic("unreachable")
	}
}

// waitParked returns when n servers on the database are parked in BLPOP.
func waitParked(tb testing.TB, rdb *redis.Client, n int) {
	tb.Helper()
	testenv.Eventually(tb, "servers are parked", func() bool {
		return parkedOn(rdb.ClientList(tb.Context()).Val(), rdb.Options().DB) == n
	})
}

// parkedOn counts the clients of a list that are parked on a database.
func parkedOn(list string, db int) int {
	parked := 0
	for line := range strings.Lines(list) {
		if strings.Contains(line, " db="+strconv.Itoa(db)+" ") && strings.Contains(line, " cmd=blpop ") && strings.Contains(line, " flags=b ") {
			parked++
		}
	}
	return parked
}

func enqueue(tb testing.TB, c *queue.Client, tasks ...job.Task) {
	tb.Helper()
	for _, task := range tasks {
		if err := c.Enqueue(tb.Context(), task); err != nil {
			tb.Fatalf("Enqueue %s: %v", task.JobID, err)
		}
	}
}

// logBuffer is a log that a test can read while it is written.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) count(s string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.buf.String(), s)
}

// counter is a hook that counts the dequeues of one server.
type counter struct {
	mu       sync.Mutex
	dequeues int
	commands []redis.Cmder
}

func (c *counter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (c *counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if _, ok := queue.IsDequeue(cmd); ok {
			c.mu.Lock()
			c.dequeues++
			c.commands = append(c.commands, cmd)
			c.mu.Unlock()
		}
		return next(ctx, cmd)
	}
}

func (c *counter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dequeues
}
