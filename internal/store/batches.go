package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// Batches. The record of a batch, {kaa}:batch:<id>, also counts its jobs: each script that moves a job
// counts. The jobs that have no record yet are in chunks.

const (
	batchesOpenKey   = prefix + "batches:open"
	batchesFeederKey = prefix + "batches:feeder"
	// batchesAwaitedKey has the batches after which jobs are to run.
	batchesAwaitedKey = prefix + "batches:awaited"
	// batchHooksKey has the messages of batches that are to be delivered.
	batchHooksKey = prefix + "batches:hooks"
	// batchArchivesKey has the batches that are to have an archive.
	batchArchivesKey = prefix + "batches:archives"
	// batchesQueue is the name of the listing of batches, among those of queues. Its only state is all.
	batchesQueue = "batches"
	batchesAll   = job.State("all")
	// BatchesDue is announced when jobs of batches may be recorded.
	BatchesDue = "batches"
	// writerTTL is how long a request that sends a batch may do nothing before another one may go on.
	writerTTL = 45 * time.Second
	// sampleEvery is the time between two of the figures from which the rate of a batch is made, and
	// samples their number: a minute.
	sampleEvery = 5 * time.Second
	samples     = 12
)

func batchKey(id string) string { return prefix + "batch:" + id }

func chunkKey(batch, first string) string { return batchKey(batch) + ":chunk:" + first }

func batchListing(v job.Viewer) string { return indexKey(listing(batchesQueue, v), batchesAll) }

// OpenBatch records a batch of which nothing was received. If its idempotency key has made another
// one, it returns the id of that.
func (s *Store) OpenBatch(ctx context.Context, n job.NewBatch) (known string, err error) {
	const op = "open batch"
	if err := s.hasRoom(ctx); err != nil {
		return "", fmt.Errorf("%s: %w", op, err)
	}
	idempotency := batchKey(n.ID)
	if n.IdempotencyKey != "" {
		idempotency = idempotencyKey(n.Scope, n.IdempotencyKey)
	}
	most, shared := s.memory.mostOfCaller(s.cfg)
	r, err := s.run(ctx, op, s.scripts.batchOpen, keys{{"batch", batchKey(n.ID)}, {"idempotency", idempotency}}, args{
		{"id", n.ID},
		{"caller", cmp.Or(n.Caller, anonymous)},
		{"name", n.Name},
		{"skip", mark(n.Skip)},
		{"ttl", n.ResultTTL.Milliseconds()},
		{"defaults", n.Defaults},
		{"sum", n.Sum},
		{"writer", n.Writer},
		{"writer_ttl", writerTTL.Milliseconds()},
		{"idempotent", mark(n.IdempotencyKey != "")},
		{"idempotency_ttl", s.cfg.IdempotencyTTL.Milliseconds()},
		{"most", n.Most},
		{"most_bytes", most},
		{"shared", shared},
		{"keep", mark(n.Keep)},
		{"rerun_of", rerunText(n.Rerun)},
		{"hook_url", n.Hook.URL},
		{"hook_secret", string(n.HookSecret)},
		{"hook_percent", n.Hook.Percent},
		{"archive", mark(n.Archive)},
		{"unended", archiveLook.Milliseconds()},
	})
	switch {
	case err != nil:
		return "", err
	case r.word() == "known":
		return r.text(1), nil
	case r.word() == "many":
		return "", fmt.Errorf("%s: %w", op, &job.BatchesFullError{InUse: atoi(r.text(1)), Limit: atoi(r.text(2))})
	}
	return "", batchError(op, r)
}

// batchError maps the words that have the same meaning in all scripts of batches.
func batchError(op string, r reply) error {
	var err error
	switch r.word() {
	case "no_batch":
		err = job.ErrNoBatch
	case "busy":
		err = job.ErrBatchBusy
	case "closed":
		err = job.ErrBatchClosed
	case "batch_unended":
		err = job.ErrBatchUnended
	case "batch_ended":
		err = job.ErrBatchEnded
	case "bytes":
		err = bytesFull(r)
	default:
		return nil
	}
	return fmt.Errorf("%s: %w", op, err)
}

// runBatch executes a script of a batch.
func (s *Store) runBatch(ctx context.Context, op string, sc script, id string, a args, each ...args) (reply, error) {
	r, err := s.run(ctx, op, sc, keys{{"batch", batchKey(id)}}, a, each...)
	if err == nil {
		err = batchError(op, r)
	}
	return r, err
}

// ResumeBatch lets a request send more of a batch. The state says whether the batch takes more.
func (s *Store) ResumeBatch(ctx context.Context, id, writer string) (job.BatchPlace, job.BatchState, error) {
	r, err := s.runBatch(ctx, "resume batch", s.scripts.batchResume, id, args{{"writer", writer}, {"writer_ttl", writerTTL.Milliseconds()}})
	if err != nil {
		return job.BatchPlace{}, "", err
	}
	return job.BatchPlace{Lines: atoi(r.text(2)), Jobs: atoi(r.text(3)), Bytes: atoi(r.text(4)), Sum: []byte(r.text(5))}, job.BatchState(r.text(1)), nil
}

// AddToBatch records a chunk.
func (s *Store) AddToBatch(ctx context.Context, c job.BatchChunk) error {
	const op = "add to batch"
	if err := s.hasRoom(ctx); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	var each []args
	for name, text := range c.Codes {
		each = append(each, args{{"kind", "code"}, {"name", name}, {"text", text}})
	}
	for _, r := range c.Refusals {
		text, err := encodeRefusal(r)
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		each = append(each, args{{"kind", "refused"}, {"name", r.Index}, {"text", text}})
	}
	most, shared := s.memory.mostOfCaller(s.cfg)
	_, err := s.runBatch(ctx, op, s.scripts.batchAdd, c.Batch, args{
		{"id", c.Batch},
		{"writer", c.Writer},
		{"writer_ttl", writerTTL.Milliseconds()},
		{"before", c.From.Lines},
		{"lines", c.To.Lines},
		{"first", c.From.Jobs},
		{"jobs", c.To.Jobs},
		{"offset", c.To.Bytes},
		{"sum", c.To.Sum},
		{"data", c.Data},
		{"most_bytes", most},
		{"shared", shared},
		s.tombstone(),
	}, each...)
	return err
}

// CloseBatch says that all lines of a batch were received.
func (s *Store) CloseBatch(ctx context.Context, id, writer string, lines int64) error {
	_, err := s.runBatch(ctx, "close batch", s.scripts.batchClose, id, args{{"id", id}, {"writer", writer}, {"lines", lines}, s.tombstone()})
	return err
}

// LeaveBatch says that a request sends no more, so another one may. With drop the batch is deleted.
func (s *Store) LeaveBatch(ctx context.Context, id, writer string, drop bool) error {
	_, err := s.runBatch(ctx, "leave batch", s.scripts.batchLeave, id, args{{"id", id}, {"writer", writer}, {"drop", mark(drop)}, s.tombstone()})
	return err
}

// RemoveBatch deletes the record of a batch that has ended. The records of its jobs stay.
func (s *Store) RemoveBatch(ctx context.Context, id string) error {
	_, err := s.runBatch(ctx, "delete batch", s.scripts.batchRemove, id, args{{"id", id}})
	return err
}

// CancelBatch asks for the end of a batch. The feeder brings it about.
func (s *Store) CancelBatch(ctx context.Context, id string) error {
	return s.cancelBatch(ctx, id, job.Failure{})
}

// GiveUpBatch ends the receiving of a batch, with a failure. Its jobs run if bad lines are left out; else
// they are cancelled.
func (s *Store) GiveUpBatch(ctx context.Context, id string, f job.Failure) error {
	return s.cancelBatch(ctx, id, f)
}

func (s *Store) cancelBatch(ctx context.Context, id string, f job.Failure) error {
	_, err := s.runBatch(ctx, "cancel batch", s.scripts.batchCancel, id,
		args{{"id", id}, {"code", string(f.Code)}, {"message", f.Message}, s.tombstone()})
	return err
}

// Batch returns a batch.
func (s *Store) Batch(ctx context.Context, id string) (job.Batch, error) {
	const op = "get batch"
	f, err := s.rdb.HGetAll(ctx, batchKey(id)).Result()
	if err != nil {
		return job.Batch{}, wrap(op, err)
	}
	if f["state"] == "" || !job.ViewerIn(ctx).Knew(ownerOf(f["caller"]), false) {
		err := s.absent(ctx, op, id)
		if errors.Is(err, job.ErrNotFound) {
			err = fmt.Errorf("%s: %w", op, job.ErrNoBatch)
		}
		return job.Batch{}, err
	}
	return decodeBatch(id, f, time.Now()), nil
}

// batchFields are the fields of a listing: all that decodeBatch reads but the defaults, which may have megabytes of code.
func batchFields() []string {
	return []string{
		"state", "name", "caller", "skip", "keep", "rerun_of", "created_at", "received_at", "finished_at", "ttl", "lines", "jobs", "refused", "running",
		"completed", "cancelled", "failed", "ended", "samples", "failure_code", "failure_message",
		"status:ok", "status:error", "status:interrupted", "status:exit",
		"hook_url", "hook_percent", "hook_pending", "hook_delivered", "hook_failed", "hook_status", "hook_error",
		"archive", "archive_bytes", "archive_results", "archive_expired", "archive_error",
	}
}

// Batches returns a page of batches, newest first, and the cursor of the next page.
func (s *Store) Batches(ctx context.Context, f job.BatchFilter) ([]job.Batch, string, error) {
	const op = "list batches"
	below := "+"
	if f.Cursor != "" {
		below = "(" + f.Cursor
	}
	ids, err := s.rdb.ZRevRangeByLex(ctx, batchListing(f.Viewer), &redis.ZRangeBy{Max: below, Min: "-", Count: int64(f.Limit) + 1}).Result()
	if err != nil {
		return nil, "", wrap(op, err)
	}
	cursor := ""
	if len(ids) > f.Limit {
		ids = ids[:f.Limit]
		cursor = ids[f.Limit-1]
	}
	cmds := make([]*redis.SliceCmd, len(ids))
	names := batchFields()
	if len(ids) > 0 {
		if _, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, id := range ids {
				cmds[i] = p.HMGet(ctx, batchKey(id), names...)
			}
			return nil
		}); err != nil {
			return nil, "", wrap(op, err)
		}
	}
	batches := make([]job.Batch, 0, len(ids))
	now := time.Now()
	for i, id := range ids {
		fields := make(map[string]string, len(names))
		for at, v := range cmds[i].Val() {
			if text, ok := v.(string); ok {
				fields[names[at]] = text
			}
		}
		if b := decodeBatch(id, fields, now); fields["state"] != "" && f.Viewer.SeesBatch(b) {
			batches = append(batches, b)
		}
	}
	return batches, cursor, nil
}

// Refusals returns the first lines of a batch that describe no job.
func (s *Store) Refusals(ctx context.Context, id string, most int) ([]job.BatchRefusal, error) {
	const op = "read refused lines"
	texts, err := s.rdb.LRange(ctx, batchKey(id)+":refused", 0, int64(most)-1).Result()
	if err != nil {
		return nil, wrap(op, err)
	}
	refusals := make([]job.BatchRefusal, len(texts))
	for i, text := range texts {
		if refusals[i], err = decodeRefusal(text); err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
	}
	return refusals, nil
}

func decodeBatch(id string, f map[string]string, now time.Time) job.Batch {
	n := func(name string) int64 { return atoi(f[name]) }
	b := job.Batch{
		ID: id, Name: f["name"], Owner: ownerOf(f["caller"]), State: job.BatchState(f["state"]), Skip: f["skip"] != "", Keep: f["keep"] != "", Rerun: parseRerun(f["rerun_of"]),
		CreatedAt: parseMillis(f["created_at"]), ReceivedAt: parseMillis(f["received_at"]), FinishedAt: parseMillis(f["finished_at"]),
		ResultTTL: time.Duration(n("ttl")) * time.Millisecond, Lines: n("lines"), Defaults: []byte(f["defaults"]),
		Counts: job.BatchCounts{
			Jobs: n("jobs"), Refused: n("refused"), Running: max(0, n("running")),
			Completed: n("completed"), Cancelled: n("cancelled"), Failed: n("failed"),
		},
	}
	for name, count := range f {
		if status, ok := strings.CutPrefix(name, "status:"); ok {
			if b.Counts.Statuses == nil {
				b.Counts.Statuses = make(map[job.Status]int64)
			}
			b.Counts.Statuses[job.Status(status)] = atoi(count)
		}
	}
	if url := f["hook_url"]; url != "" {
		b.Hook = &job.BatchHook{
			URL: url, Percent: int(n("hook_percent")), Pending: int(n("hook_pending")), Delivered: int(n("hook_delivered")), Failed: int(n("hook_failed")),
			LastStatus: int(n("hook_status")), LastError: f["hook_error"],
		}
	}
	if state := f["archive"]; state != "" {
		b.Archive = &job.BatchArchive{
			State: job.ArchiveState(state), Bytes: n("archive_bytes"), Results: n("archive_results"), Expired: n("archive_expired"), Error: f["archive_error"], Token: f["archive_token"],
		}
	}
	left := b.Counts.Jobs - b.Counts.Ended()
	b.Counts.Running = min(b.Counts.Running, left)
	b.Counts.Waiting = left - b.Counts.Running
	if code := f["failure_code"]; code != "" {
		b.Failure = &job.Failure{Code: job.FailureCode(code), Message: f["failure_message"]}
	}
	if !b.State.Terminal() {
		b.Rate = rateOf(f["samples"], n("ended"), now)
		if b.Rate > 0 && b.State != job.BatchReceiving {
			b.Remaining = time.Duration(math.Ceil(float64(left) / b.Rate * float64(time.Second)))
		}
	}
	return b
}

// rateOf returns the jobs that ended per second since the oldest of the samples.
func rateOf(text string, ended int64, now time.Time) float64 {
	oldest, _, _ := strings.Cut(text, " ")
	at, before, ok := strings.Cut(oldest, ":")
	took := now.Sub(parseMillis(at)).Seconds()
	if !ok || took < 0.5 {
		return 0
	}
	return max(0, float64(ended-atoi(before))/took)
}

// OpenBatches returns the batches that have not ended, oldest first.
func (s *Store) OpenBatches(ctx context.Context) ([]string, error) {
	// SORT is among the commands that Redis calls dangerous, which Kaa's user may not use.
	ids, err := s.rdb.SMembers(ctx, batchesOpenKey).Result()
	slices.Sort(ids)
	return ids, wrap("list open batches", err)
}

// LeadFeeding reports whether a process is the one that feeds batches. It is for period after the last
// call.
func (s *Store) LeadFeeding(ctx context.Context, process string, period time.Duration) (bool, error) {
	const op = "lead feeding"
	err := s.rdb.SetArgs(ctx, batchesFeederKey, process, redis.SetArgs{Mode: "NX", TTL: period}).Err()
	if err == nil {
		return true, nil
	}
	if err != redis.Nil { //nolint:errorlint // go-redis returns it bare
		return false, wrap(op, err)
	}
	// Not one step: two processes that feed at a time do no harm.
	leader, err := s.rdb.Get(ctx, batchesFeederKey).Result()
	if err != nil && err != redis.Nil { //nolint:errorlint // as above
		return false, wrap(op, err)
	}
	if leader != process {
		return false, nil
	}
	return true, wrap(op, s.rdb.PExpire(ctx, batchesFeederKey, period).Err())
}

// StopFeeding lets another process feed batches at once.
func (s *Store) StopFeeding(ctx context.Context, process string) error {
	const op = "stop feeding"
	leader, err := s.rdb.Get(ctx, batchesFeederKey).Result()
	if err == redis.Nil || err == nil && leader != process { //nolint:errorlint // as above
		return nil
	}
	if err != nil {
		return wrap(op, err)
	}
	return wrap(op, s.rdb.Del(ctx, batchesFeederKey).Err())
}

// sample notes how many jobs of a batch have ended, from time to time.
func (s *Store) sample(ctx context.Context, id, before string, ended int64) error {
	now := time.Now()
	all := strings.Fields(before)
	if len(all) > 0 {
		at, _, _ := strings.Cut(all[len(all)-1], ":")
		if now.Sub(parseMillis(at)) < sampleEvery {
			return nil
		}
	}
	all = append(all, strconv.FormatInt(now.UnixMilli(), 10)+":"+strconv.FormatInt(ended, 10))
	all = all[max(0, len(all)-samples):]
	_, err := s.runBatch(ctx, "note progress of batch", s.scripts.batchSample, id, args{{"samples", strings.Join(all, " ")}})
	return err
}
