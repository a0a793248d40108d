package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// Request returns what a job asked for, as far as it is kept: not its webhook, whose secret is not. The record has
// it, after the end of the job for as long as keeps_request in common.lua says, or the lines of the job's batch. job.ErrRequestGone: it is
// not there.
func (s *Store) Request(ctx context.Context, j job.Job) (job.NewJob, error) {
	const op = "read request of job"
	gone := fmt.Errorf("%s: %w", op, job.ErrRequestGone)
	size, err := s.rdb.HStrLen(ctx, jobKey(j.ID), "spec").Result()
	if err != nil {
		return job.NewJob{}, wrap(op, err)
	}
	if batch, _, ok := job.BatchOf(j.ID); ok && size == 0 {
		n, found, err := s.unfedJob(ctx, op, j.ID, j.Owner)
		if err == nil && !found {
			err = gone
		}
		if err != nil {
			return job.NewJob{}, err
		}
		one := []job.NewJob{n}
		err = s.fetchCodes(ctx, batch, one)
		if errors.Is(err, job.ErrChunkLost) {
			err = gone
		}
		one[0].Job.Webhook, one[0].WebhookSecret = nil, ""
		return one[0], err
	}
	if err := job.Hold(ctx, resultParts*size); err != nil {
		return job.NewJob{}, fmt.Errorf("%s: %w", op, err)
	}
	text, err := s.rdb.HGet(ctx, jobKey(j.ID), "spec").Bytes()
	if err == redis.Nil { //nolint:errorlint // go-redis returns it bare
		return job.NewJob{}, gone
	}
	if err != nil {
		return job.NewJob{}, wrap(op, err)
	}
	n := job.NewJob{Job: job.Job{Queue: j.Queue, MaxAttempts: j.MaxAttempts, Timeout: j.Timeout, ResultTTL: j.ResultTTL, Metadata: j.Metadata, Runtime: j.Runtime}}
	if err := json.Unmarshal(text, &n.Spec); err != nil {
		return job.NewJob{}, fmt.Errorf("%s: decode: %w", op, err)
	}
	return n, nil
}
