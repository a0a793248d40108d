-- batchHooked: how an attempt to deliver a message of a batch ended.
-- keys: batch
-- args: id, percent, attempt, state, wait (ms until the next attempt), status, error
-- Answers {state} | {'stale'}. Only the last attempt may say that there has to be another; that it was delivered, any may say.
local key, percent, to = KEYS.batch, ARGV.percent, ARGV.state
local f = redis.call('HMGET', key, 'hook:' .. percent, 'finished_at', 'ttl')
local entry = ARGV.id .. ' ' .. percent
if not f[1] then
  redis.call('ZREM', BATCH_HOOKS, entry)
  return { 'stale' }
end
if f[1] ~= ARGV.attempt and to ~= 'delivered' then return { 'stale' } end
redis.call('HDEL', key, 'hook_status', 'hook_error')
if ARGV.status ~= '0' then redis.call('HSET', key, 'hook_status', ARGV.status) end
if ARGV.error ~= '' then redis.call('HSET', key, 'hook_error', ARGV.error) end
local now = now_ms()
if to == 'pending' then
  redis.call('ZADD', BATCH_HOOKS, int(now + tonumber(ARGV.wait)), entry)
  return { to }
end
redis.call('ZREM', BATCH_HOOKS, entry)
redis.call('HDEL', key, 'hook:' .. percent, 'hook_at:' .. percent)
redis.call('HINCRBY', key, 'hook_' .. to, 1)
if redis.call('HINCRBY', key, 'hook_pending', -1) <= 0 and f[2] then
  -- All are delivered or given up, so the record may go when the results may.
  redis.call('HDEL', key, 'hook_secret')
  redis.call('PEXPIRE', key, int(math.max(1000, tonumber(f[2]) + tonumber(f[3]) - now)))
end
return { to }
