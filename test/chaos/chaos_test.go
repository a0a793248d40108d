// Package chaos_test starts Kaa as real processes, breaks them at random and checks
// that nothing was lost, run twice or left hanging. scripts/chaos runs it in full,
// `make test-long` for a minute; `go test` without flags leaves it out.
package chaos_test

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/testenv"
)

var (
	duration = flag.Duration("chaos.duration", 0, "for how long to break things; 0 leaves the tests of this package out")
	jobs     = flag.Int("chaos.jobs", 2000, "how many jobs to submit meanwhile")
	seed     = flag.Uint64("chaos.seed", 0, "what jobs and faults are made from; 0 takes any")
	keep     = flag.String("chaos.dir", "", "where to keep the logs")
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

func TestChaos(t *testing.T) { //nolint:paralleltest // it measures times
	if *duration == 0 {
		t.Skip("run by scripts/chaos")
	}
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("again: scripts/chaos %s %d %d", *duration, *jobs, *seed)
	c := startCluster(t, 2, 3)
	marks := filepath.Join(c.dir, "marks")
	if err := os.WriteFile(marks, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// Everything has to end some time after the last fault.
	const settle = 90 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), *duration+settle)
	defer cancel()
	l := &load{client: newClient(c.apis), path: marks}
	defer l.http.CloseIdleConnections()
	begin := time.Now()
	l.done.Go(func() { l.run(ctx, *seed, *jobs, *duration) })
	broken := c.breakThings(ctx, faults(*seed, *duration, len(c.apis), len(c.runners)))
	lastFault := time.Now()
	l.done.Wait()
	t.Logf("%d jobs in %s; the last end was seen %s after the last fault; faults: %v",
		*jobs, time.Since(begin).Round(time.Second), time.Since(lastFault).Round(time.Millisecond), broken)
	c.checkEmpty(ctx, l.client)
	r := c.check(l.tasks, readMarks(t, marks))
	r.print(l.statuses)
	for _, w := range l.wrong {
		t.Errorf("wrong answer: %s", w)
	}
	c.stop()
}

// breakThings carries the plan out and returns how often each kind of fault was.
func (c *cluster) breakThings(ctx context.Context, plan []fault) map[string]int {
	broken := map[string]int{}
	begin := time.Now()
	for _, a := range c.acts(plan) {
		select {
		case <-time.After(time.Until(begin.Add(a.at))):
		case <-ctx.Done():
			c.tb.Fatal(ctx.Err())
		}
		if a.say != "" {
			kind, _, _ := strings.Cut(strings.TrimLeft(a.say[8:], " "), " for ")
			broken[strings.TrimRight(kind, " 0123456789")]++
			writeLine(c.tb, filepath.Join(c.dir, "faults"), time.Now().UTC().Format("15:04:05.000 ")+a.say)
		}
		a.do()
	}
	return broken
}

// stop ends all processes and checks that nothing is left of them.
func (c *cluster) stop() {
	for _, p := range c.processes() {
		if !p.terminate(30 * time.Second) {
			c.tb.Errorf("%s does not stop", p.name)
		}
	}
	if left := c.leftovers(); len(left) > 0 {
		c.tb.Errorf("left over: %v", left)
	}
	c.checkLogs()
}

func writeLine(tb testing.TB, path, line string) {
	tb.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	_, _ = io.WriteString(f, line+"\n")
}

// checkEmpty checks that nothing of the jobs is left but their records.
func (c *cluster) checkEmpty(ctx context.Context, cl *client) {
	c.tb.Helper()
	a, err := cl.insist(ctx, 5*time.Second, http.MethodGet, "/v1/queues", nil)
	if err != nil {
		c.tb.Error(err)
		return
	}
	var queues struct {
		Queues []struct {
			Name                     string
			Depth, Active, Scheduled int
		}
	}
	if err := json.Unmarshal(a.raw, &queues); err != nil {
		c.tb.Errorf("queues: %v", err)
	}
	for _, q := range queues.Queues {
		if q.Depth != 0 || q.Active != 0 || q.Scheduled != 0 {
			c.tb.Errorf("left in queue %+v", q)
		}
	}
	rdb := redis.NewClient(&redis.Options{Addr: c.redis.Addr})
	defer func() { _ = rdb.Close() }()
	// asynq gives tasks of lost servers back after a while, to be dropped.
	testenv.Eventually(c.tb, "the queues of asynq are empty", func() bool {
		for _, pattern := range []string{"asynq:*:pending", "asynq:*:active", "asynq:*:lease", "asynq:*:retry", "{kaa}:runner:*:jobs"} {
			if keys, err := rdb.Keys(ctx, pattern).Result(); err != nil || len(keys) > 0 {
				return false
			}
		}
		return true
	})
	if keys := rdb.Keys(ctx, "asynq:*:archived").Val(); len(keys) > 0 {
		c.tb.Errorf("archived: %v", keys)
	}
	if keys := rdb.Keys(ctx, "{kaa}:outbox").Val(); len(keys) > 0 {
		c.tb.Errorf("outbox: %v", rdb.ZRangeWithScores(ctx, "{kaa}:outbox", 0, -1).Val())
	}
}

// checkLogs finds what no process may say.
func (c *cluster) checkLogs() {
	for _, p := range c.processes() {
		for _, name := range p.logs() {
			text, err := os.ReadFile(name)
			if err != nil {
				c.tb.Error(err)
			}
			for line := range strings.Lines(string(text)) {
				if strings.Contains(line, "panic") || strings.Contains(line, "DATA RACE") || strings.Contains(line, "fatal error") {
					c.tb.Errorf("%s: %s", filepath.Base(name), line)
				}
			}
		}
	}
}
