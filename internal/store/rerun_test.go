package store_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// TestKeptRequests: the request of a job outlives its end as far as it is to run again, counts as long as it is there, and
// goes with the record.
func TestKeptRequests(t *testing.T) {
	t.Parallel()
	ok := job.Outcome{State: job.Completed, Result: result()}
	failed := job.Outcome{State: job.Failed, Failure: &job.Failure{Code: job.FailWorker}}
	cancelled := job.Outcome{State: job.Cancelled, Failure: &job.Failure{Code: job.FailCancelled}}
	sync := func(n *job.NewJob) { n.Subscriber = "api" }
	code := func(size int) func(*job.NewJob) {
		return func(n *job.NewJob) { n.Spec.Code, n.Spec.Argv = strings.Repeat("#", size), []string{"é"} }
	}
	for name, c := range map[string]struct {
		change []func(*job.NewJob)
		end    job.Outcome
		kept   bool
	}{
		"small":            {nil, ok, true},
		"large":            {[]func(*job.NewJob){code(20_000)}, ok, false},
		"failed":           {[]func(*job.NewJob){code(20_000)}, failed, true},
		"failed, huge":     {[]func(*job.NewJob){code(1 << 20)}, failed, false},
		"cancelled":        {nil, cancelled, true},
		"cancelled, large": {[]func(*job.NewJob){code(20_000)}, cancelled, false},
		"waited for":       {[]func(*job.NewJob){sync}, ok, false},
		"waited for, lost": {[]func(*job.NewJob){sync}, failed, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, store.Config{MaxCallerBytes: 1 << 30})
			b.rdb.AddHook(twice{})
			n := newJob(append(c.change, of("me"))...)
			n.Job.Metadata, n.Job.MaxAttempts = json.RawMessage(`{"a":1}`), 3
			id := b.create(t, n)
			if err := b.Finish(t.Context(), b.claim(t, id), c.end); err != nil {
				t.Fatal(err)
			}
			held := func() int64 {
				bytes, _ := b.rdb.HGet(t.Context(), "{kaa}:bytes", "me").Int64() // none is 0
				return bytes
			}
			spec := b.rdb.HStrLen(t.Context(), "{kaa}:job:"+id, "spec").Val()
			rest := b.rdb.HStrLen(t.Context(), "{kaa}:job:"+id, "result").Val() + int64(len(n.Job.Metadata)) + 1024 + 512 + 256 // for the record, its end, and the tombstone
			if held() != spec+rest || (spec > 0) != c.kept {
				t.Errorf("it counts %d bytes: %d of its request, %d of the rest", held(), spec, rest)
			}
			again, err := b.Request(t.Context(), b.get(t, id))
			if c.kept {
				diff := cmp.Diff(n.Spec, again.Spec)
				if err != nil || diff != "" || again.Job.Queue != n.Job.Queue || again.Job.MaxAttempts != 3 || again.Job.ResultTTL != n.Job.ResultTTL || string(again.Job.Metadata) != `{"a":1}` {
					t.Errorf("%+v, %v\n%s", again.Job, err, diff)
				}
			} else if !errors.Is(err, job.ErrRequestGone) {
				t.Errorf("%+v, %v", again, err)
			}
			if _, err := b.Remove(t.Context(), id); err != nil || held() != 0 {
				t.Errorf("after the removal it counts %d bytes: %v", held(), err)
			}
		})
	}
}

// TestRequestsOfSessionsAndBatches: a session's executions keep none, and a batch's jobs have those of its lines.
func TestRequestsOfSessionsAndBatches(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	id := b.create(t, newJob(of("me"), inSession(b.openSession(t).ID, "")))
	end(t, b, id, true, job.Outcome{State: job.Failed, Failure: &job.Failure{Code: job.FailWorker}})
	if _, err := b.Request(t.Context(), b.get(t, id)); !errors.Is(err, job.ErrRequestGone) {
		t.Errorf("of a session: %v", err)
	}
	for _, keep := range []bool{true, false} {
		batch := job.NewBatchID()
		if _, err := b.OpenBatch(t.Context(), job.NewBatch{ID: batch, Writer: "w", ResultTTL: time.Hour, Keep: keep}); err != nil {
			t.Fatal(err)
		}
		n := newJob(hooked)
		n.Spec.Code = strings.Repeat("#", 5000) // beside the chunk
		data, codes, err := b.PackBatch([]*job.NewJob{&n})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.AddToBatch(t.Context(), job.BatchChunk{Batch: batch, Writer: "w", To: job.BatchPlace{Lines: 1, Jobs: 1}, Data: data, Codes: codes}); err != nil {
			t.Fatal(err)
		}
		if err := b.CloseBatch(t.Context(), batch, "w", 1); err != nil {
			t.Fatal(err)
		}
		fed, count, err := b.NextChunk(t.Context(), job.BatchProgress{ID: batch, Jobs: 1})
		if err != nil {
			t.Fatal(err)
		}
		id := b.create(t, fed[0])
		if err := b.Fed(t.Context(), job.BatchProgress{ID: batch}, count, ""); err != nil {
			t.Fatal(err)
		}
		if err := b.Finish(t.Context(), b.claim(t, id), job.Outcome{State: job.Failed, Failure: &job.Failure{Code: job.FailWorker}}); err != nil {
			t.Fatal(err)
		}
		again, err := b.Request(t.Context(), b.get(t, id))
		switch {
		case !keep && !errors.Is(err, job.ErrRequestGone):
			t.Errorf("of a batch that keeps nothing: %+v, %v", again, err)
		case keep && (err != nil || again.Spec.Code != n.Spec.Code || again.Job.Webhook != nil || again.WebhookSecret != ""):
			t.Errorf("of a batch that keeps its lines: %+v, %v", again, err)
		}
	}
}
