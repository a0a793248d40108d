package queue

import (
	"context"
	"fmt"

	"github.com/hibiken/asynq"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/luascript"
)

// The kinds of damage that Mend and Missing repair.
const (
	kindNoLease    = "active_without_lease"
	kindStaleLease = "lease_not_renewed"
	kindNoPayload  = "task_without_payload"
	kindOffList    = "task_off_list"
	kindArchived   = "task_archived"
)

const (
	// mendMost bounds the tasks that are checked in one queue at a time: the oldest. A lost one
	// further behind is among them in time.
	mendMost = 256
	// mendSearch is the distance from its old end up to which a list is searched for a task.
	mendSearch = 10_000
)

// mendScript repairs states that asynq's own scripts, each of which moves a task in one step,
// never leave behind. No recoverer looks for an active task without a lease.
// It answers {without lease, without payload}.
//
//nolint:gochecknoglobals // never changes
var mendScript = luascript.New("mend", `
-- keys: active, pending, lease
-- args: task (prefix of task keys), most
local leaseless, empty = 0, 0
for _, id in ipairs(redis.call('LRANGE', KEYS.active, 0, -1)) do
  if redis.call('HEXISTS', ARGV.task .. id, 'msg') == 0 then
    redis.call('DEL', ARGV.task .. id)
    redis.call('LREM', KEYS.active, 0, id)
    redis.call('ZREM', KEYS.lease, id)
    empty = empty + 1
  elseif not redis.call('ZSCORE', KEYS.lease, id) then
    redis.call('LREM', KEYS.active, 0, id)
    redis.call('RPUSH', KEYS.pending, id)
    redis.call('HSET', ARGV.task .. id, 'state', 'pending')
    leaseless = leaseless + 1
  end
end
for _, id in ipairs(redis.call('LRANGE', KEYS.pending, -ARGV.most, -1)) do
  if redis.call('HEXISTS', ARGV.task .. id, 'msg') == 0 then
    redis.call('DEL', ARGV.task .. id)
    redis.call('LREM', KEYS.pending, 0, id)
    empty = empty + 1
  end
end
return { leaseless, empty }`)

// findScript looks for one task. It puts a task that is on no list, so that no server would ever
// take it, back on its queue.
// It answers missing, there, archived or mended.
//
//nolint:gochecknoglobals // never changes
var findScript = luascript.New("find", `
-- keys: task, pending, active, scheduled, retry, archived
-- args: id, search (distance)
local state = redis.call('HGET', KEYS.task, 'state')
if not state or redis.call('HEXISTS', KEYS.task, 'msg') == 0 then
  redis.call('DEL', KEYS.task)
  return 'missing'
end
if state == 'archived' and redis.call('ZSCORE', KEYS.archived, ARGV.id) then return 'archived' end
for _, key in ipairs({ KEYS.scheduled, KEYS.retry }) do
  if redis.call('ZSCORE', key, ARGV.id) then return 'there' end
end
if redis.call('LPOS', KEYS.active, ARGV.id) then return 'there' end
if redis.call('LPOS', KEYS.pending, ARGV.id, 'RANK', -1, 'MAXLEN', ARGV.search) then return 'there' end
if redis.call('LLEN', KEYS.pending) > tonumber(ARGV.search) then return 'there' end
redis.call('RPUSH', KEYS.pending, ARGV.id)
redis.call('HSET', KEYS.task, 'state', 'pending')
return 'mended'`)

// MendQueue repairs the lists of a queue that do not agree with each other, and counts the
// repairs by kind. It returns the oldest of the tasks that wait in it or are in its archive, for
// the caller to find those that no job waits for.
func (c *Client) MendQueue(ctx context.Context, queue string) (map[string]int, []job.Task, error) {
	prefix := "asynq:{" + queue + "}:"
	op := "mend queue " + queue
	n, err := c.rdb.Exists(ctx, prefix+"pending", prefix+"active", prefix+"lease", prefix+"archived").Result()
	if err != nil || n == 0 {
		return nil, nil, unavailableOr(ctx, op, err)
	}
	v, err := mendScript.Call(ctx, c.rdb,
		luascript.Keys{{"active", prefix + "active"}, {"pending", prefix + "pending"}, {"lease", prefix + "lease"}},
		luascript.Args{{"task", prefix + "t:"}, {"most", mendMost}}).Int64Slice()
	if err != nil {
		return nil, nil, unavailable(ctx, op, err)
	}
	mended := map[string]int{kindNoLease: int(v[0]), kindNoPayload: int(v[1])}
	if mended[kindStaleLease], err = c.Reclaim(ctx, queue); err != nil {
		return mended, nil, err
	}
	if v[0] > 0 {
		if err := wake(ctx, c.rdb, queue, int(v[0])); err != nil {
			return mended, nil, unavailable(ctx, op, err)
		}
	}
	ids, err := c.rdb.LRange(ctx, prefix+"pending", -mendMost, -1).Result()
	if err != nil {
		return mended, nil, unavailable(ctx, op, err)
	}
	archived, err := c.rdb.ZRange(ctx, prefix+"archived", 0, mendMost-1).Result()
	if err != nil {
		return mended, nil, unavailable(ctx, op, err)
	}
	var tasks []job.Task
	for _, id := range append(ids, archived...) {
		if t, err := parsePayload([]byte(id)); err == nil { // an id is the plain form of it
			t.Queue = queue
			tasks = append(tasks, t)
		}
	}
	return mended, tasks, nil
}

// Missing returns those of the tasks, all of one queue, that asynq does not know. Tasks that it
// knows but would never hand out become pending; Missing counts them by kind.
func (c *Client) Missing(ctx context.Context, queue string, tasks []job.Task) ([]job.Task, map[string]int, error) {
	op := "look for tasks of " + queue
	prefix := "asynq:{" + queue + "}:"
	mended := map[string]int{}
	var missing []job.Task
	for _, t := range tasks {
		found, err := findScript.Call(ctx, c.rdb, luascript.Keys{
			{"task", prefix + "t:" + taskID(t)},
			{"pending", prefix + "pending"},
			{"active", prefix + "active"},
			{"scheduled", prefix + "scheduled"},
			{"retry", prefix + "retry"},
			{"archived", prefix + "archived"},
		}, luascript.Args{{"id", taskID(t)}, {"search", mendSearch}}).Text()
		if err != nil {
			return nil, mended, unavailable(ctx, op, err)
		}
		switch found {
		case "missing":
			missing = append(missing, t)
			continue
		case "archived":
			if err := c.inspect.RunTask(queue, taskID(t)); err != nil {
				return nil, mended, unavailable(ctx, op, err)
			}
			mended[kindArchived]++
		case "mended":
			mended[kindOffList]++
		default:
			continue
		}
		if err := wake(ctx, c.rdb, queue, 1); err != nil {
			return nil, mended, unavailable(ctx, op, err)
		}
	}
	return missing, mended, nil
}

// Delete takes a task that no job waits for out of a queue or its archive, and reports whether
// it was there. A task that a server has just taken stays: its claim is refused.
func (c *Client) Delete(ctx context.Context, t job.Task) (bool, error) {
	err := c.inspect.DeleteTask(t.Queue, taskID(t))
	if err == nil || isGone(err) {
		return err == nil, nil
	}
	info, infoErr := c.inspect.GetTaskInfo(t.Queue, taskID(t))
	if isGone(infoErr) || (infoErr == nil && info.State == asynq.TaskStateActive) {
		return false, nil
	}
	return false, unavailable(ctx, "delete task "+taskID(t), err)
}

func unavailableOr(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	return unavailable(ctx, op, fmt.Errorf("look: %w", err))
}
