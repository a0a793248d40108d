package queue

import (
	"context"
	"fmt"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
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
// KEYS active, pending, lease   ARGV prefix of task keys, most
// Answers {without lease, without payload}.
const mendScript = `
local leaseless, empty = 0, 0
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  if redis.call('HEXISTS', ARGV[1] .. id, 'msg') == 0 then
    redis.call('DEL', ARGV[1] .. id)
    redis.call('LREM', KEYS[1], 0, id)
    redis.call('ZREM', KEYS[3], id)
    empty = empty + 1
  elseif not redis.call('ZSCORE', KEYS[3], id) then
    redis.call('LREM', KEYS[1], 0, id)
    redis.call('RPUSH', KEYS[2], id)
    redis.call('HSET', ARGV[1] .. id, 'state', 'pending')
    leaseless = leaseless + 1
  end
end
for _, id in ipairs(redis.call('LRANGE', KEYS[2], -ARGV[2], -1)) do
  if redis.call('HEXISTS', ARGV[1] .. id, 'msg') == 0 then
    redis.call('DEL', ARGV[1] .. id)
    redis.call('LREM', KEYS[2], 0, id)
    empty = empty + 1
  end
end
return { leaseless, empty }`

// findScript looks for one task. It puts a task that is on no list, so that no server would ever
// take it, back on its queue.
// KEYS task, pending, active, scheduled, retry, archived   ARGV id, search distance
// Answers missing, there, archived or mended.
const findScript = `
local state = redis.call('HGET', KEYS[1], 'state')
if not state or redis.call('HEXISTS', KEYS[1], 'msg') == 0 then
  redis.call('DEL', KEYS[1])
  return 'missing'
end
if state == 'archived' and redis.call('ZSCORE', KEYS[6], ARGV[1]) then return 'archived' end
for _, key in ipairs({ KEYS[4], KEYS[5] }) do
  if redis.call('ZSCORE', key, ARGV[1]) then return 'there' end
end
if redis.call('LPOS', KEYS[3], ARGV[1]) then return 'there' end
if redis.call('LPOS', KEYS[2], ARGV[1], 'RANK', -1, 'MAXLEN', ARGV[2]) then return 'there' end
if redis.call('LLEN', KEYS[2]) > tonumber(ARGV[2]) then return 'there' end
redis.call('RPUSH', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[1], 'state', 'pending')
return 'mended'`

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
	v, err := redis.NewScript(mendScript).Run(ctx, c.rdb,
		[]string{prefix + "active", prefix + "pending", prefix + "lease"}, prefix+"t:", mendMost).Int64Slice()
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
		found, err := redis.NewScript(findScript).Run(ctx, c.rdb, []string{
			prefix + "t:" + taskID(t), prefix + "pending", prefix + "active", prefix + "scheduled", prefix + "retry", prefix + "archived",
		}, taskID(t), mendSearch).Text()
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
