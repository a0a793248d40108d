-- hooked: how an attempt to deliver a webhook ended.
-- keys: hooks, job
-- args: id, attempt, state, wait (ms until the next attempt), status, error, tombstone
-- Answers {state} | {'stale'} | {'gone'} | {'missing'}. Only the last attempt may say
-- that there has to be another; that it was delivered, any may say.
local id, to = ARGV.id, ARGV.state
local f = redis.call('HMGET', KEYS.job, 'hook_state', 'hook_attempts', 'finished_at', 'result_ttl', 'caller', 'in_session', 'held_for')
if not f[1] then
  redis.call('ZREM', KEYS.hooks, id)
  return missing(id)
end
if f[1] ~= 'pending' then return { f[1] == to and to or 'stale' } end
if f[2] ~= ARGV.attempt and to ~= 'delivered' then return { 'stale' } end
redis.call('HSET', KEYS.job, 'hook_state', to)
redis.call('HDEL', KEYS.job, 'hook_status', 'hook_error')
if ARGV.status ~= '0' then redis.call('HSET', KEYS.job, 'hook_status', ARGV.status) end
if ARGV.error ~= '' then redis.call('HSET', KEYS.job, 'hook_error', ARGV.error) end
local now = now_ms()
if to == 'pending' then
  redis.call('ZADD', KEYS.hooks, int(now + tonumber(ARGV.wait)), id)
  return { to }
end
redis.call('ZREM', KEYS.hooks, id)
redis.call('HDEL', KEYS.job, 'hook_secret')
-- Now the record may go when its result may; but not under the eyes of who looks.
local left = math.max(1000, tonumber(f[3]) + tonumber(f[4]) - now)
redis.call('PEXPIRE', KEYS.job, int(left))
redis.call('PEXPIRE', events_key(id), int(left))
redis.call('SET', P .. 'gone:' .. id, stone_of(f[5], f[6]), 'PX', int(left + tonumber(ARGV.tombstone)))
if f[5] and f[7] then
  local bytes, ended = ended_bytes(KEYS.job), tonumber(f[3])
  hold_no_more(f[5], bytes, ended, tonumber(f[7]))
  redis.call('HSET', KEYS.job, 'held_for', f[4])
  hold_until(f[5], 0, bytes, ended, tonumber(f[4]))
end
return { to }
