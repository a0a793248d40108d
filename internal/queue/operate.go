package queue

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// pausedKey is asynq's key of a paused queue, with the time in seconds: its dequeue script takes no
// task while it exists. asynq's own tools pause queues by it.
func pausedKey(queue string) string { return "asynq:{" + queue + "}:paused" }

// Pause makes servers take no task of a queue. It is in force when it returns.
func (c *Client) Pause(ctx context.Context, queue string) error {
	// Not asynq's Inspector: to it a queue that is paused already is an error without a name.
	if err := c.rdb.SetNX(ctx, pausedKey(queue), time.Now().Unix(), 0).Err(); err != nil {
		return unavailable(ctx, "pause queue "+queue, err)
	}
	return nil
}

// Resume ends a Pause, and wakes servers for the tasks that wait.
func (c *Client) Resume(ctx context.Context, queue string) error {
	op := "resume queue " + queue
	pipe := c.rdb.Pipeline()
	pipe.Del(ctx, pausedKey(queue))
	waiting := pipe.LLen(ctx, "asynq:{"+queue+"}:pending")
	if _, err := pipe.Exec(ctx); err != nil {
		return unavailable(ctx, op, err)
	}
	if waiting.Val() == 0 {
		return nil
	}
	if err := wake(ctx, c.rdb, queue, int(waiting.Val())); err != nil {
		return unavailable(ctx, op, err)
	}
	return nil
}

// Paused returns those of the queues that are paused, and since when.
func (c *Client) Paused(ctx context.Context, queues []string) (map[string]time.Time, error) {
	since := make(map[string]*redis.StringCmd, len(queues))
	_, err := c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, q := range queues {
			since[q] = p.Get(ctx, pausedKey(q))
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, unavailable(ctx, "look for paused queues", err)
	}
	paused := map[string]time.Time{}
	for q, at := range since {
		if at.Err() == nil {
			seconds, _ := at.Int64() // another tool may have set it otherwise
			paused[q] = time.Unix(seconds, 0)
		}
	}
	return paused, nil
}

// Tasks counts what asynq holds of a queue.
func (c *Client) Tasks(ctx context.Context, queue string) (job.TaskStats, error) {
	// asynq has no error of its own for a queue on which no task has ever been.
	known, err := c.rdb.SIsMember(ctx, "asynq:queues", queue).Result()
	if err != nil {
		return job.TaskStats{}, unavailable(ctx, "count tasks", err)
	}
	if !known {
		paused, err := c.Paused(ctx, []string{queue})
		_, is := paused[queue]
		return job.TaskStats{Queue: queue, Paused: is}, err
	}
	info, err := c.inspect.GetQueueInfo(queue)
	if err != nil {
		return job.TaskStats{}, unavailable(ctx, "count tasks", err)
	}
	return job.TaskStats{
		Queue: queue, Paused: info.Paused, Pending: info.Pending, Active: info.Active, Scheduled: info.Scheduled,
		Retry: info.Retry, Archived: info.Archived, Latency: info.Latency.Seconds(),
		Processed: info.ProcessedTotal, Failed: info.FailedTotal,
	}, nil
}
