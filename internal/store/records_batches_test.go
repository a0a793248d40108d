package store_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// The batches of the records: one of which some jobs have ended, and one that has ended.
const (
	runningBatch = "01989d3c-0000-8000-8000-000000000000"
	endedBatch   = "01989d3c-0001-8000-8000-000000000000"
	batchCaller  = "caller-of-batches"
)

// recordedBatch records a batch of two chunks, feeds the first, and cancels the first job. The last line of the first chunk is refused.
func (w *writer) recordedBatch(id string) {
	w.t.Helper()
	ctx := w.t.Context()
	_, err := w.OpenBatch(ctx, job.NewBatch{
		ID: id, Caller: batchCaller, Name: "nightly", Skip: true, ResultTTL: time.Hour, Keep: true, Sum: []byte("sum"), Writer: "w",
		Hook: job.BatchHook{URL: "https://example.com", Percent: 50}, HookSecret: "hunter2",
	})
	w.must(err)
	line := func(change ...func(*job.NewJob)) *job.NewJob { return new(newJob(append(change, of(batchCaller))...)) }
	from := job.BatchPlace{}
	for _, chunk := range []struct {
		jobs    []*job.NewJob
		refused []job.BatchRefusal
	}{
		{[]*job.NewJob{line(), line(func(n *job.NewJob) { n.Spec.Code = strings.Repeat("# long\n", 1000) }), nil}, []job.BatchRefusal{{Line: 3, Index: 2, Message: "why"}}},
		{[]*job.NewJob{line(hooked)}, nil},
	} {
		data, codes, err := w.PackBatch(chunk.jobs)
		w.must(err)
		to := job.BatchPlace{Lines: from.Lines + int64(len(chunk.jobs)), Jobs: from.Jobs + int64(len(chunk.jobs)), Bytes: from.Bytes + 10, Sum: []byte("sum")}
		w.must(w.AddToBatch(ctx, job.BatchChunk{Batch: id, Writer: "w", From: from, To: to, Data: data, Codes: codes, Refusals: chunk.refused}))
		from = to
	}
	w.must(w.CloseBatch(ctx, id, "w", from.Lines))
	w.feedBatch(id)
	_, err = w.Cancel(ctx, job.BatchJobID(id, 0))
	w.must(err)
}

// feedBatch makes records of the next chunk.
func (b *bundle) feed(t *testing.T, id string) {
	t.Helper()
	p, err := b.BatchProgress(t.Context(), id)
	must(t, err)
	jobs, count, err := b.NextChunk(t.Context(), p)
	must(t, err)
	for _, c := range b.CreateAll(t.Context(), jobs) {
		must(t, c.Err)
	}
	must(t, b.Fed(t.Context(), p, count, ""))
}

func (w *writer) feedBatch(id string) { w.t.Helper(); w.feed(w.t, id) }

func (w *writer) batches() {
	ctx := w.t.Context()
	w.recordedBatch(runningBatch)
	w.create(w.t, named("after-a-batch", afterBatch(runningBatch)))
	w.recordedBatch(endedBatch)
	_, err := w.Cancel(ctx, job.BatchJobID(endedBatch, 1))
	w.must(err)
	w.feedBatch(endedBatch)
	c := w.claim(w.t, job.BatchJobID(endedBatch, 3))
	w.must(w.Finish(ctx, c, job.Outcome{State: job.Completed, Result: result()}))
	_, err = w.Cancel(ctx, w.create(w.t, named("a-rerun", func(n *job.NewJob) { n.Job.RerunOf = job.BatchJobID(endedBatch, 3) })))
	w.must(err)
}

func (l *lines) batches(t *testing.T, s *store.Store) {
	t.Helper()
	ctx := t.Context()
	all, _, err := s.Batches(ctx, job.BatchFilter{Viewer: job.Viewer{All: true}, Limit: 100})
	must(t, err)
	for _, b := range all {
		statuses, err := json.Marshal(b.Counts.Statuses)
		must(t, err)
		l.add("batch "+b.ID, "name", b.Name, "owner", b.Owner, "state", b.State, "skip", b.Skip, "keep", b.Keep, "created", b.CreatedAt, "received", b.ReceivedAt,
			"finished", b.FinishedAt, "ttl", b.ResultTTL, "lines", b.Lines, "jobs", b.Counts.Jobs, "refused", b.Counts.Refused, "waiting", b.Counts.Waiting,
			"running", b.Counts.Running, "completed", b.Counts.Completed, "cancelled", b.Counts.Cancelled, "statuses", string(statuses))
		if h := b.Hook; h != nil {
			l.add("  webhook", "url", h.URL, "percent", h.Percent, "pending", h.Pending)
		}
		if a := b.Archive; a != nil {
			l.add("  archive", "state", a.State, "bytes", a.Bytes, "results", a.Results, "expired", a.Expired, "error", a.Error, "token", a.Token)
		}
		for _, order := range []job.BatchOrder{job.BySubmission, job.ByCompletion} {
			ends, err := s.BatchEnds(ctx, b.ID, order, 0, 100)
			must(t, err)
			for _, e := range ends.Ends {
				l.add("  end", "order", order, "place", e.Place, "index", e.Index, "mark", string(e.Mark))
			}
		}
		refusals, err := s.Refusals(ctx, b.ID, 10)
		must(t, err)
		for _, r := range refusals {
			l.add("  refused", "line", r.Line, "index", r.Index, "message", r.Message)
		}
	}
}

// batchOld ends a batch of an older process, and works on one that has ended.
func batchOld(t *testing.T, b *bundle) {
	t.Helper()
	ctx := t.Context()
	if b.rdb.Exists(ctx, "{kaa}:batch:"+runningBatch).Val() == 0 {
		return // the file is older than batches
	}
	if c := b.claim(t, job.BatchJobID(runningBatch, 1)); len(c.Spec.Code) != 7000 {
		t.Errorf("long code: %d bytes", len(c.Spec.Code))
	} else {
		must(t, b.Finish(ctx, c, completed))
	}
	b.feed(t, runningBatch)
	must(t, b.Finish(ctx, b.claim(t, job.BatchJobID(runningBatch, 3)), completed))
	batch, err := b.Batch(ctx, runningBatch)
	must(t, err)
	if batch.State != job.BatchCompleted || batch.Counts.Completed != 2 || batch.Counts.Cancelled != 1 || batch.Counts.Refused != 1 {
		t.Errorf("%+v", batch)
	}
	percents := map[string][]int{}
	for _, d := range b.take(t) {
		if d.BatchID != "" {
			percents[d.BatchID] = append(percents[d.BatchID], d.Percent)
		}
	}
	if diff := cmp.Diff(map[string][]int{runningBatch: {50, 100}, endedBatch: {50, 100}}, percents); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if c := b.claim(t, "after-a-batch"); c.Attempt != 1 {
		t.Errorf("the job after it: %+v", c)
	}
	jobs, err := b.KeptJobs(ctx, endedBatch, 0, job.MarksOf([]job.State{job.Cancelled}, nil))
	if err != nil || len(jobs) != 2 {
		t.Errorf("lines of the one that has ended: %d, %v", len(jobs), err)
	}
	if n, err := b.Request(ctx, b.get(t, job.BatchJobID(endedBatch, 3))); err != nil || n.Spec.Code == "" {
		t.Errorf("a job of it again: %+v, %v", n.Spec, err)
	}
	must(t, b.RemoveBatch(ctx, endedBatch))
}
