package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// mendEvery is how often the jobs of a batch that should have ended are looked up.
const mendEvery = 30 * time.Second

// BatchProgress returns what the feeder has to know of a batch. job.ErrNoBatch: it is gone.
func (s *Store) BatchProgress(ctx context.Context, id string) (job.BatchProgress, error) {
	const op = "look at batch"
	v, err := s.rdb.HMGet(ctx, batchKey(id), "state", "skip", "caller", "jobs", "next", "fed", "ended", "received_at", "samples").Result()
	if err != nil {
		return job.BatchProgress{}, wrap(op, err)
	}
	f := reply(v)
	p := job.BatchProgress{
		ID: id, State: job.BatchState(f.text(0)), Skip: f.text(1) != "", Owner: ownerOf(f.text(2)),
		Jobs: atoi(f.text(3)), Next: atoi(f.text(4)), Ahead: atoi(f.text(5)) - atoi(f.text(6)), ReceivedAt: parseMillis(f.text(7)),
	}
	if p.State == "" {
		return p, fmt.Errorf("%s: %w", op, job.ErrNoBatch)
	}
	if p.State.Terminal() {
		return p, nil
	}
	return p, s.sample(ctx, id, f.text(8), atoi(f.text(6)))
}

// NextChunk returns the jobs of a batch from index next on that have no record and have not ended, as far
// as the chunk goes, and the number of its indexes.
func (s *Store) NextChunk(ctx context.Context, p job.BatchProgress) (jobs []job.NewJob, count int, err error) {
	const op = "read chunk"
	first := strconv.FormatInt(p.Next, 10)
	var data, ends *redis.StringCmd
	var after *redis.StringSliceCmd
	_, err = s.rdb.Pipelined(ctx, func(c redis.Pipeliner) error {
		data = c.Get(ctx, chunkKey(p.ID, first))
		after = c.ZRangeByScore(ctx, batchKey(p.ID)+":chunks", &redis.ZRangeBy{Min: "(" + first, Max: "+inf", Count: 1})
		ends = c.GetRange(ctx, batchKey(p.ID)+":ends", p.Next, p.Next+mostItems)
		return nil
	})
	if err != nil && err != redis.Nil { //nolint:errorlint // go-redis returns it bare
		return nil, 0, wrap(op, err)
	}
	next := p.Jobs
	if len(after.Val()) > 0 {
		next = atoi(after.Val()[0])
	}
	count = int(next - p.Next)
	if err == redis.Nil { //nolint:errorlint // as above
		return nil, count, fmt.Errorf("%s: %w", op, job.ErrChunkLost)
	}
	items, err := s.unpackItems(data.Val())
	if err != nil || len(items) != count {
		return nil, count, fmt.Errorf("%s: %w: %w", op, job.ErrChunkLost, err)
	}
	marks := ends.Val()
	for i, item := range items {
		if len(item) == 0 || i < len(marks) && marks[i] != 0 {
			continue
		}
		n, err := decodeItem(item, job.BatchJobID(p.ID, p.Next+int64(i)), p.Owner)
		if err != nil {
			return nil, count, fmt.Errorf("%s: %w: %w", op, job.ErrChunkLost, err)
		}
		jobs = append(jobs, n)
	}
	return jobs, count, s.fetchCodes(ctx, p.ID, jobs)
}

// mostItems is more than the number of jobs in any chunk.
const mostItems = 1 << 16

// unpackItems returns the lines of a chunk.
func (s *Store) unpackItems(data string) ([][]byte, error) {
	text, err := s.packer.unpack([]byte(data))
	if err != nil {
		return nil, err
	}
	lines := bytes.Split(text, []byte("\n"))
	return lines[:len(lines)-1], nil
}

// decodeItem decodes a line of a chunk. Where the code is elsewhere, its digest stands for it, after a
// byte that no code has.
func decodeItem(line []byte, id, caller string) (job.NewJob, error) {
	var item batchItem
	if err := json.Unmarshal(line, &item); err != nil {
		return job.NewJob{}, err
	}
	if item.Code != "" {
		item.Spec.Code = "\x00" + item.Code
	}
	return item.newJob(id, caller), nil
}

// fetchCodes puts the codes that are beside a chunk into its jobs.
func (s *Store) fetchCodes(ctx context.Context, batch string, jobs []job.NewJob) error {
	const op = "read codes of batch"
	places := make(map[string][]int)
	for i, n := range jobs {
		if code := n.Spec.Code; code != "" && code[0] == 0 {
			places[code[1:]] = append(places[code[1:]], i)
		}
	}
	// One by one: together they may be large.
	for digest, at := range places {
		packed, err := s.rdb.HGet(ctx, batchKey(batch)+":code", digest).Bytes()
		if err == redis.Nil { //nolint:errorlint // go-redis returns it bare
			return fmt.Errorf("%s: %w", op, job.ErrChunkLost)
		}
		if err != nil {
			return wrap(op, err)
		}
		code, err := s.packer.unpack(packed)
		if err != nil {
			return fmt.Errorf("%s: %w: %w", op, job.ErrChunkLost, err)
		}
		text := string(code)
		for _, i := range at {
			jobs[i].Spec.Code = text
		}
	}
	return nil
}

// Fed says that a chunk of a batch is in records. With to, those of its jobs that have no record end in that
// state, without one.
func (s *Store) Fed(ctx context.Context, p job.BatchProgress, count int, to job.State) error {
	_, err := s.runBatch(ctx, "note that a chunk was fed", s.scripts.batchFed, p.ID, s.fedArgs(p.ID, p.Next, count, to))
	return err
}

func (s *Store) fedArgs(id string, first int64, count int, to job.State) args {
	return args{{"id", id}, {"first", first}, {"count", count}, {"to", string(to)}, s.tombstone()}
}

// Unended returns the ids of those jobs of a batch that were fed and have not ended, oldest first and at
// most most; 0 is no limit.
func (s *Store) Unended(ctx context.Context, p job.BatchProgress, most int) ([]string, error) {
	if p.Next == 0 {
		return nil, nil
	}
	ends, err := s.rdb.GetRange(ctx, batchKey(p.ID)+":ends", 0, p.Next-1).Result()
	if err != nil {
		return nil, wrap("look for jobs of batch", err)
	}
	var ids []string
	for i := range p.Next {
		if i < int64(len(ends)) && ends[i] != 0 {
			continue
		}
		if ids = append(ids, job.BatchJobID(p.ID, i)); len(ids) == most {
			break
		}
	}
	return ids, nil
}

// MendBatch counts those of the oldest jobs of a batch that have ended without being counted, at most
// most. It looks once in a period.
func (s *Store) MendBatch(ctx context.Context, p job.BatchProgress, most int) (int, error) {
	const op = "mend batch"
	if mine, err := s.Elect(ctx, "mend:"+p.ID, mendEvery); err != nil || !mine {
		return 0, err
	}
	ids, err := s.Unended(ctx, p, most)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	each := make([]args, len(ids))
	for i, id := range ids {
		_, index, _ := job.BatchOf(id)
		each[i] = args{{"index", index}}
	}
	n, err := s.call(ctx, s.scripts.batchMend, keys{{"batch", batchKey(p.ID)}}, args{{"id", p.ID}, s.tombstone()}, each...).Int()
	return n, wrap(op, err)
}

// pending looks for a job of a batch that has no record. It returns it without what only its chunk has:
// see Complete. job.ErrNotFound: there is no such job. job.ErrStale: it has a record by now.
func (s *Store) pending(ctx context.Context, op, id string) (job.Job, error) {
	batch, index, isOfBatch := job.BatchOf(id)
	if !isOfBatch {
		return job.Job{}, job.ErrNotFound
	}
	var record *redis.SliceCmd
	var end *redis.StringCmd
	if _, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		record = p.HMGet(ctx, batchKey(batch), "state", "caller", "jobs", "next", "received_at", "finished_at")
		end = p.GetRange(ctx, batchKey(batch)+":ends", index, index)
		return nil
	}); err != nil {
		return job.Job{}, wrap(op, err)
	}
	f := reply(record.Val())
	if f.text(0) == "" || index >= atoi(f.text(2)) {
		return job.Job{}, job.ErrNotFound
	}
	j := job.Job{ID: id, Owner: ownerOf(f.text(1)), CreatedAt: parseMillis(f.text(4)), QueuedAt: parseMillis(f.text(4)), State: job.Queued}
	switch mark := end.Val(); {
	case mark != "" && job.BatchMark(mark[0]).Failure() != nil:
		m := job.BatchMark(mark[0])
		j.State, j.Failure, j.FinishedAt = m.State(), m.Failure(), parseMillis(f.text(5))
	case mark != "" && mark != "\x00":
		return job.Job{}, job.ErrNotFound // it had a record
	case index < atoi(f.text(3)):
		return job.Job{}, job.ErrStale
	}
	j.Unfed = true
	return j, nil
}

// Complete fills a job without a record from its chunk. A job whose chunk is not there any more stays as it
// is: it was cancelled, or has a record by now.
func (s *Store) Complete(ctx context.Context, j job.Job) (job.Job, error) {
	const op = "look for job of batch"
	n, found, err := s.unfedJob(ctx, op, j.ID, j.Owner)
	if err != nil || !found {
		return j, err
	}
	filled := n.Job
	filled.State, filled.CreatedAt, filled.FinishedAt, filled.Failure, filled.Unfed = j.State, j.CreatedAt, j.FinishedAt, j.Failure, true
	if j.State == job.Queued {
		filled.QueuedAt, filled.WaitsFor = j.QueuedAt, job.WaitKey
	}
	return filled, nil
}

// unfedJob reads the chunk of a job.
func (s *Store) unfedJob(ctx context.Context, op, id, caller string) (n job.NewJob, found bool, err error) {
	batch, index, ok := job.BatchOf(id)
	if !ok {
		return n, false, nil
	}
	firsts, err := s.rdb.ZRevRangeByScore(ctx, batchKey(batch)+":chunks", &redis.ZRangeBy{Max: strconv.FormatInt(index, 10), Min: "-inf", Count: 1}).Result()
	if err != nil || len(firsts) == 0 {
		return n, false, wrap(op, err)
	}
	data, err := s.rdb.Get(ctx, chunkKey(batch, firsts[0])).Result()
	if err == redis.Nil { //nolint:errorlint // go-redis returns it bare
		return n, false, nil
	}
	if err != nil {
		return n, false, wrap(op, err)
	}
	items, err := s.unpackItems(data)
	if err != nil {
		return n, false, fmt.Errorf("%s: %w", op, err)
	}
	at := index - atoi(firsts[0])
	if at >= int64(len(items)) || len(items[at]) == 0 {
		return n, false, nil
	}
	if n, err = decodeItem(items[at], id, caller); err != nil {
		return n, false, fmt.Errorf("%s: %w", op, err)
	}
	return n, true, nil
}

// feedOne records one job of a batch before its turn, because something needs its record.
func (s *Store) feedOne(ctx context.Context, op, id, caller string) error {
	n, found, err := s.unfedJob(ctx, op, id, caller)
	if err != nil || !found {
		return err
	}
	batch, _, _ := job.BatchOf(id)
	one := []job.NewJob{n}
	if err := s.fetchCodes(ctx, batch, one); err != nil {
		return err
	}
	created := s.CreateAll(ctx, one)[0]
	return created.Err
}

// cancelUnfed cancels a job of a batch that has no record. recorded: it has one by now.
func (s *Store) cancelUnfed(ctx context.Context, op, id string) (recorded bool, err error) {
	batch, index, ok := job.BatchOf(id)
	if !ok {
		return false, fmt.Errorf("%s: %w", op, job.ErrNotFound)
	}
	r, err := s.run(ctx, op, s.scripts.batchUnfed, keys{{"batch", batchKey(batch)}, {"job", jobKey(id)}},
		args{{"id", batch}, {"index", index}, s.tombstone()})
	return r.word() == "recorded", err
}
