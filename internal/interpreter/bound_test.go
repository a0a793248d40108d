package interpreter_test

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// sinkOf takes what is written to standard output.
type sinkOf func(text string)

func (s sinkOf) Stream(_ string, p []byte)          { s(string(p)) }
func (sinkOf) Skipped(string, int64)                {}
func (sinkOf) Event(job.EventType, json.RawMessage) {}

// TestProcessesOfAllSandboxes: one execution gets half of what there is for all at most, and all
// together no more than that.
func TestProcessesOfAllSandboxes(t *testing.T) {
	t.Parallel()
	const all, each, executions = 128, 64, 4
	p := newPool(t, func(c *interpreter.Config) {
		c.Size, c.Ceilings = executions, sandbox.Ceilings{Processes: 2 * all}
		c.Quota.Processes, c.MaxQuota.Processes = 1024, 1024
	})
	const code = `
import os, sys, time
n = 0
try:
    while n < 1000:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        n += 1
except OSError:
    pass
print(n, flush=True)
time.sleep(60)
`
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	counts := make(chan int, executions)
	var done sync.WaitGroup
	for range executions {
		w, err := p.Acquire(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		done.Go(func() {
			defer w.Close()
			tap := new(job.Tap)
			tap.Open(sinkOf(func(text string) {
				if n, err := strconv.Atoi(strings.TrimSpace(text)); err == nil {
					counts <- n
				}
			}))
			_, _ = w.Execute(ctx, job.Spec{Code: code, Quota: job.Quota{
				Processes: 1024, MemoryBytes: 512 << 20, DiskBytes: 1 << 20, FileBytes: 1 << 20, OutputBytes: 1 << 20, OpenFiles: 100, CPUs: 1,
			}}, job.Live{Tap: tap})
		})
	}
	sum := 0
	for range executions {
		select {
		case n := <-counts:
			if n >= each {
				t.Errorf("one has %d processes, its limit is %d", n, each)
			}
			sum += n
		case <-time.After(ample):
			t.Fatal("no count")
		}
	}
	cancel()
	done.Wait()
	if sum > all || sum < each/2 {
		t.Errorf("all have %d processes, the limit is %d", sum, all)
	}
}
