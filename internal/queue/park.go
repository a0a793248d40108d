package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
)

// releaseTTL removes the release token of a server that was not waiting any more.
const releaseTTL = 10 * time.Second

// redisParker is the parker on a real Redis.
type redisParker struct {
	blocking redis.UniversalClient // BLPOP holds one of its connections
	rdb      redis.UniversalClient // for all other commands, so that a small pool cannot stall it
	poll     time.Duration
	// keys are the keys of BLPOP. The first is this server's own: a push to it ends the wait. It
	// comes first, so it wins over a task's token, which stays for other servers.
	keys []string
	own  string
	// oneSlot is false for a cluster, where one EXISTS cannot span several queues.
	oneSlot bool
}

func newRedisParker(cfg ServerConfig, queues []string) *redisParker {
	own := wakePrefix + "server:" + uuid.NewString()
	p := &redisParker{blocking: cfg.Blocking, rdb: cfg.Redis, poll: cfg.IdlePoll, own: own, keys: []string{own}}
	for _, q := range queues {
		p.keys = append(p.keys, wakeKey(q))
	}
	_, p.oneSlot = cfg.Redis.(*redis.Client)
	return p
}

func (p *redisParker) wait() (queue string, err error) {
	got, err := p.blocking.BLPop(context.Background(), p.poll, p.keys...).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("wait for a wake token: %w", err)
	case got[0] == p.own:
		return "", nil
	}
	return strings.TrimPrefix(got[0], wakePrefix), nil
}

func (p *redisParker) release(ctx context.Context) error {
	pipe := p.rdb.Pipeline()
	pipe.LPush(ctx, p.own, 1)
	pipe.Expire(ctx, p.own, releaseTTL)
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("release the waiting server: %w", err)
	}
	return nil
}

// dequeue sends the dequeue in a pipeline, through the client that it came from: the
// gate lets pipelines pass. Not on a cluster, where that would be several trips, in any
// order.
func (p *redisParker) dequeue(
	ctx context.Context, next redis.ProcessHook, cmd redis.Cmder, token string, lists map[string]struct{},
) (none []string, err error) {
	if !p.oneSlot {
		return nil, next(ctx, cmd)
	}
	pipe := p.rdb.Pipeline()
	if token != "" {
		pipe.LPop(ctx, wakeKey(token))
	}
	_ = pipe.Process(ctx, cmd) // queues it
	exist := make(map[string]*redis.IntCmd, len(lists))
	for list := range lists {
		exist[list] = pipe.Exists(ctx, list)
	}
	// Each command has its own error. An error of an EXISTS only means that the state of its
	// queue is unknown. But if the connection breaks, go-redis gives the error to all commands
	// without one, also to those that were answered before. A task that has been read would then
	// be lost.
	if _, err := pipe.Exec(ctx); err != nil && gotTask(cmd) {
		cmd.SetErr(nil)
	}
	for list, n := range exist {
		if n.Err() == nil && n.Val() == 0 {
			none = append(none, list)
		}
	}
	return none, cmd.Err()
}

// gotTask reports whether a dequeue was answered with a task, whatever its error. One that
// was read in part is an empty text.
func gotTask(cmd redis.Cmder) bool {
	c, ok := cmd.(*redis.Cmd)
	if !ok {
		return false
	}
	task, _ := c.Val().(string)
	return task != ""
}

func (p *redisParker) anyPending(keys map[string]struct{}) (bool, error) {
	ctx := context.Background()
	names := make([]string, 0, len(keys))
	for key := range keys {
		names = append(names, key)
	}
	if p.oneSlot {
		n, err := p.rdb.Exists(ctx, names...).Result()
		if err != nil {
			return false, fmt.Errorf("look for pending tasks: %w", err)
		}
		return n > 0, nil
	}
	for _, name := range names {
		n, err := p.rdb.Exists(ctx, name).Result()
		if err != nil {
			return false, fmt.Errorf("look for pending tasks: %w", err)
		}
		if n > 0 {
			return true, nil
		}
	}
	return false, nil
}

func (p *redisParker) wake(ctx context.Context, queue string) error {
	return wake(ctx, p.rdb, queue, 1)
}
