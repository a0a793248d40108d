package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

func rerunText(r job.BatchRerun) string {
	if r.Of == "" {
		return ""
	}
	return r.Of + " " + string(r.Marks)
}

func parseRerun(text string) job.BatchRerun {
	of, marks, _ := strings.Cut(text, " ")
	return job.BatchRerun{Of: of, Marks: job.BatchMarks(marks)}
}

// KeptChunks returns the first index of each chunk that a batch has kept.
func (s *Store) KeptChunks(ctx context.Context, id string) ([]int64, error) {
	texts, err := s.rdb.ZRange(ctx, batchKey(id)+":chunks", 0, -1).Result()
	if err != nil {
		return nil, wrap("look for lines of batch", err)
	}
	firsts := make([]int64, len(texts))
	for i, text := range texts {
		firsts[i] = atoi(text)
	}
	return firsts, nil
}

// KeptJobs returns those jobs of a kept chunk that ended with one of these marks. job.ErrChunkLost: the chunk is
// gone, or cannot be read.
func (s *Store) KeptJobs(ctx context.Context, id string, first int64, marks job.BatchMarks) ([]job.NewJob, error) {
	const op = "read lines of batch"
	var data, ends *redis.StringCmd
	_, err := s.rdb.Pipelined(ctx, func(c redis.Pipeliner) error {
		data = c.Get(ctx, chunkKey(id, strconv.FormatInt(first, 10)))
		ends = c.GetRange(ctx, batchKey(id)+":ends", first, first+mostItems)
		return nil
	})
	if err == redis.Nil { //nolint:errorlint // go-redis returns it bare
		return nil, fmt.Errorf("%s: %w", op, job.ErrChunkLost)
	}
	if err != nil {
		return nil, wrap(op, err)
	}
	items, err := s.unpackItems(data.Val())
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", op, job.ErrChunkLost, err)
	}
	var jobs []job.NewJob
	for i, item := range items {
		if i >= len(ends.Val()) || len(item) == 0 || !marks.Has(job.BatchMark(ends.Val()[i])) {
			continue
		}
		n, err := decodeItem(item, job.BatchJobID(id, first+int64(i)), "")
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %w", op, job.ErrChunkLost, err)
		}
		jobs = append(jobs, n)
	}
	return jobs, s.fetchCodes(ctx, id, jobs)
}
