-- hooked: how an attempt to deliver a webhook ended.
-- KEYS hooks, job   ARGV id, attempt, state, ms until the next attempt, status, error,
--                   tombstone
-- Answers {state} | {'stale'} | {'gone'} | {'missing'}. Only the last attempt may say
-- that there has to be another; that it was delivered, any may say.
local id, to = ARGV[1], ARGV[3]
local f = redis.call('HMGET', KEYS[2], 'hook_state', 'hook_attempts', 'finished_at', 'result_ttl')
if not f[1] then
  redis.call('ZREM', KEYS[1], id)
  return missing(id)
end
if f[1] ~= 'pending' then return { f[1] == to and to or 'stale' } end
if f[2] ~= ARGV[2] and to ~= 'delivered' then return { 'stale' } end
redis.call('HSET', KEYS[2], 'hook_state', to)
redis.call('HDEL', KEYS[2], 'hook_status', 'hook_error')
if ARGV[5] ~= '0' then redis.call('HSET', KEYS[2], 'hook_status', ARGV[5]) end
if ARGV[6] ~= '' then redis.call('HSET', KEYS[2], 'hook_error', ARGV[6]) end
local now = now_ms()
if to == 'pending' then
  redis.call('ZADD', KEYS[1], int(now + tonumber(ARGV[4])), id)
  return { to }
end
redis.call('ZREM', KEYS[1], id)
redis.call('HDEL', KEYS[2], 'hook_secret')
-- Now the record may go when its result may; but not under the eyes of who looks.
local left = math.max(1000, tonumber(f[3]) + tonumber(f[4]) - now)
redis.call('PEXPIRE', KEYS[2], int(left))
redis.call('PEXPIRE', events_key(id), int(left))
redis.call('SET', P .. 'gone:' .. id, '1', 'PX', int(left + tonumber(ARGV[7])))
return { to }
