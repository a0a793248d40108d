package queue

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// token is a wake token for asynq's enqueue script to carry, which saves every execution one
// round trip to Redis.
type token struct {
	queue string
	sent  bool
}

type tokenKey struct{}

func withToken(ctx context.Context, queue string) (context.Context, *token) {
	t := &token{queue: queue}
	return context.WithValue(ctx, tokenKey{}, t), t
}

// withWake returns a client that sends a context's token right after the script that is run with
// it. It is only for a single server, where a pipeline is processed in order. On a cluster the
// task and the token are on different nodes, and a token that came first would wake a server for
// nothing.
func withWake(rdb redis.UniversalClient) redis.UniversalClient {
	if single, ok := rdb.(*redis.Client); ok {
		return wakingClient{single}
	}
	return rdb
}

// wakingClient adds the token to the two commands by which go-redis runs a script.
// It does not care which script that is: the token counts as sent only if a script
// that carried it succeeded, and Enqueue sends it by itself otherwise.
type wakingClient struct{ *redis.Client }

func (c wakingClient) EvalSha(ctx context.Context, sha1 string, keys []string, args ...any) *redis.Cmd {
	t, ok := ctx.Value(tokenKey{}).(*token)
	if !ok {
		return c.Client.EvalSha(ctx, sha1, keys, args...)
	}
	p := c.Pipeline()
	cmd := p.EvalSha(ctx, sha1, keys, args...)
	return sendWith(ctx, p, cmd, t)
}

func (c wakingClient) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	t, ok := ctx.Value(tokenKey{}).(*token)
	if !ok {
		return c.Client.Eval(ctx, script, keys, args...)
	}
	p := c.Pipeline()
	cmd := p.Eval(ctx, script, keys, args...)
	return sendWith(ctx, p, cmd, t)
}

// sendWith runs the pipeline of cmd with the token behind it.
func sendWith(ctx context.Context, p redis.Pipeliner, cmd *redis.Cmd, t *token) *redis.Cmd {
	addTokens(ctx, p, t.queue, 1)
	_, err := p.Exec(ctx)
	t.sent = err == nil
	return cmd
}

// enqueueScript is the hash of asynq's enqueue script. If asynq calls another one, its call is
// not replaced.
const enqueueScript = "98d28b42650870a743450ffda9791e9e19c6991b"

// queuesKey is the key of asynq's set of queue names.
const queuesKey = "asynq:queues"

// script is asynq's call of a script that was caught instead of sent.
type script struct {
	sha1 string
	keys []string
	args []any
}

type scriptKey struct{}

// catchingClient records asynq's enqueue script instead of sending it, and answers the SADD that
// asynq sends before the first one for a queue. So no command through it reaches Redis. It needs
// an asynq client of its own, since that client then takes the queue for published.
type catchingClient struct{ redis.UniversalClient }

func (catchingClient) SAdd(context.Context, string, ...any) *redis.IntCmd {
	return redis.NewIntResult(1, nil)
}

func (catchingClient) EvalSha(ctx context.Context, sha1 string, keys []string, args ...any) *redis.Cmd {
	s, ok := ctx.Value(scriptKey{}).(*script)
	if !ok {
		return redis.NewCmdResult(nil, errors.New("a script that is not to be caught"))
	}
	*s = script{sha1, keys, args}
	return redis.NewCmdResult(int64(1), nil) // "enqueued"
}

// EnqueueCommands returns the commands of Enqueue, for a task that was never enqueued before.
// With them the store records the job and enqueues the task in one step. They need a single
// server, on which a step may use any key. It returns nil on a cluster, with another asynq than
// the one that they are made for, or if the client is a plain one.
func (c *Client) EnqueueCommands(ctx context.Context, t job.Task) [][]any {
	if _, ok := c.rdb.(*redis.Client); !ok || c.caught == nil || validateTask(t) != nil {
		return nil
	}
	var s script
	if err := c.enqueueTask(context.WithValue(ctx, scriptKey{}, &s), c.caught, t); err != nil || s.sha1 != enqueueScript {
		return nil
	}
	// asynq's message, the task's id, and the time.
	task, pending, msg, id, now := s.keys[0], s.keys[1], s.args[0], s.args[1], s.args[2]
	return append([][]any{
		{"sadd", queuesKey, t.Queue}, // each time: without it asynq does not find the task to remove
		{"hset", task, "msg", msg, "state", "pending", "pending_since", now},
		{"lpush", pending, id},
	}, tokenCommands(t.Queue, 1)...)
}
