package queue

import (
	"context"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/luascript"
)

const (
	// leaseTime is asynq's lease of a task; a live server renews it every 5 s.
	leaseTime = 30 * time.Second
	// deadAfter is the age of the last renewal of a lease after which its server is dead: those
	// 5 s, and maxHeld, by which a new lease may be old already.
	deadAfter = 10 * time.Second
	// maxReclaimed bounds the tasks that one script moves.
	maxReclaimed = 256
)

// reclaimScript moves the tasks whose lease ends soon to the end of the list that servers take
// from, as asynq's own requeue does.
//
//nolint:gochecknoglobals // never changes
var reclaimScript = luascript.New("reclaim", `
-- keys: lease, active, pending
-- args: before (end of the lease), task (prefix of task keys), most
local moved = 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS.lease, '-inf', ARGV.before, 'LIMIT', 0, ARGV.most)) do
  if redis.call('LREM', KEYS.active, 0, id) > 0 then
    redis.call('RPUSH', KEYS.pending, id)
    redis.call('HSET', ARGV.task .. id, 'state', 'pending')
    moved = moved + 1
  end
  redis.call('ZREM', KEYS.lease, id)
end
return moved`)

// Reclaim puts tasks of dead servers back on their queues, and returns their number. asynq does
// that only when the lease is over and its recoverer runs, up to two minutes later. A task whose
// server is alive after all is handled twice, which the claim of its job makes harmless.
func (c *Client) Reclaim(ctx context.Context, queues ...string) (int, error) {
	return reclaim(ctx, c.rdb, queues...)
}

func reclaim(ctx context.Context, rdb redis.UniversalClient, queues ...string) (int, error) {
	reclaimed := 0
	before := time.Now().Add(leaseTime - deadAfter).Unix()
	for _, q := range queues {
		prefix := "asynq:{" + q + "}:"
		n, err := reclaimScript.Call(ctx, rdb,
			luascript.Keys{{"lease", prefix + "lease"}, {"active", prefix + "active"}, {"pending", prefix + "pending"}},
			luascript.Args{{"before", before}, {"task", prefix + "t:"}, {"most", maxReclaimed}}).Int()
		if err != nil {
			return reclaimed, unavailable(ctx, "reclaim tasks of "+q, err)
		}
		reclaimed += n
		if n == 0 {
			continue
		}
		if err := wake(ctx, rdb, q, n); err != nil {
			return reclaimed, unavailable(ctx, "wake for reclaimed tasks", err)
		}
	}
	return reclaimed, nil
}

// doubtful is called when a dequeue failed: Redis may have handed out a task whose answer was
// lost, so that no server handles it. It is detected when its lease is not renewed.
func (s *Server) doubtful() {
	if s.doubts.Swap(true) {
		return // a goroutine waits for it already
	}
	s.background.Go(func() {
		for {
			t := time.NewTimer(deadAfter + time.Second)
			select {
			case <-t.C:
			case <-s.drained:
				t.Stop()
				return
			}
			s.doubts.Store(false) // later failures need another wait
			ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
			n, err := reclaim(ctx, s.cfg.Redis, s.names...)
			cancel()
			if n > 0 {
				s.cfg.Log.Warn("queue: tasks whose hand-over was lost are on their queues again", slog.Int("tasks", n))
			}
			if err == nil || s.doubts.Swap(true) {
				return
			}
		}
	})
}
