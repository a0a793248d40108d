package queue

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// maxRetry lets asynq deliver a task again. It must not be 0: asynq's recoverer archives a task
// without retries if its runner dies between dequeue and claim, and the job would wait
// permanently. A second delivery is safe because the claim of the job's record is fenced. The
// number itself never runs out, see isFailure.
const maxRetry = 100

// Client puts tasks on queues. It is safe for concurrent use, owns no goroutine
// and needs no Close.
type Client struct {
	rdb     redis.UniversalClient
	enqueue *asynq.Client
	caught  *asynq.Client // its enqueues do not reach Redis; nil for a plain client
	inspect *asynq.Inspector
	// handling is what a handler may take beyond its execution's timeout.
	handling time.Duration
}

// NewPlainClient is NewClient with separate commands: asynq enqueues a task, and the wake token
// is sent afterwards.
func NewPlainClient(rdb redis.UniversalClient, handling time.Duration) *Client {
	return &Client{rdb: rdb, enqueue: asynq.NewClientFromRedisClient(rdb), inspect: asynq.NewInspectorFromRedisClient(rdb), handling: handling}
}

// NewClient uses rdb, which stays the caller's. A handler may take handling beyond its
// execution's timeout.
func NewClient(rdb redis.UniversalClient, handling time.Duration) *Client {
	return &Client{
		rdb:     rdb,
		enqueue: asynq.NewClientFromRedisClient(withWake(rdb)),
		caught:  asynq.NewClientFromRedisClient(catchingClient{rdb}),
		inspect: asynq.NewInspectorFromRedisClient(rdb), handling: handling,
	}
}

// Enqueue puts t on its queue and wakes one idle server. A task that is on it
// already counts as enqueued, so after an error, which may hide a success, the
// caller can just try again. Errors of Redis match job.ErrUnavailable.
func (c *Client) Enqueue(ctx context.Context, t job.Task) error {
	if err := validateTask(t); err != nil {
		return fmt.Errorf("enqueue: %w", err)
	}
	ctx, token := withToken(ctx, t.Queue)
	err := c.enqueueTask(ctx, c.enqueue, t)
	if err != nil && !errors.Is(err, asynq.ErrTaskIDConflict) {
		return unavailable(ctx, "enqueue task "+taskID(t), err)
	}
	if !token.sent {
		// The task is on the queue in any case, and an idle server checks every IdlePoll. So
		// neither the caller's end nor an error counts here.
		_ = wake(context.WithoutCancel(ctx), c.rdb, t.Queue, 1)
	}
	return nil
}

func (c *Client) enqueueTask(ctx context.Context, with *asynq.Client, t job.Task) error {
	_, err := with.EnqueueContext(ctx, asynq.NewTask(taskType, payloadOf(t)),
		asynq.TaskID(taskID(t)), asynq.Queue(t.Queue), asynq.MaxRetry(maxRetry), asynq.Timeout(wholeSeconds(t.Timeout+c.handling+slack)))
	return err
}

// Remove takes t off its queue if no server has it yet, as for a cancelled job. A task that is
// gone, or active, is no error.
func (c *Client) Remove(ctx context.Context, t job.Task) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("remove task %s: %w", taskID(t), err)
	}
	err := c.inspect.DeleteTask(t.Queue, taskID(t))
	if err == nil || isGone(err) {
		return nil
	}
	// asynq has no error of its own for a task that is active.
	info, infoErr := c.inspect.GetTaskInfo(t.Queue, taskID(t))
	if isGone(infoErr) || (infoErr == nil && info.State == asynq.TaskStateActive) {
		return nil
	}
	return unavailable(ctx, "remove task "+taskID(t), err)
}

// Wake makes one idle server check its queues.
func (c *Client) Wake(ctx context.Context, queue string) error {
	if err := wake(ctx, c.rdb, queue, 1); err != nil {
		return unavailable(ctx, "wake", err)
	}
	return nil
}

func isGone(err error) bool {
	return errors.Is(err, asynq.ErrTaskNotFound) || errors.Is(err, asynq.ErrQueueNotFound)
}

// unavailable marks an error as Redis's. asynq turns causes into text, so a
// context that ended has to be put back into the chain.
func unavailable(ctx context.Context, op string, err error) error {
	if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
		err = errors.Join(cause, err)
	}
	return fmt.Errorf("%s: %w: %w", op, job.ErrUnavailable, err)
}

// wholeSeconds rounds up, because asynq cuts fractions off, and treats less than a second as "no
// limit given".
func wholeSeconds(d time.Duration) time.Duration {
	return time.Duration(math.Ceil(d.Seconds())) * time.Second
}
