-- fork: nothing -> idle, for forks of a session, on its runner: all of them or none.
-- keys: session
-- args: runner, most (sessions that it has room for),
--       most_own (sessions that the caller may have because of its key, or '0'), own_memory, own_disk (of open)
-- each: fork (its id)
-- Answers {'forked'} | {'full', 'caller' or 'runner', limit, how many it has,
-- 'key' if the limit is that of the key} | {'session_ended', reason,
-- message, volume} | {'no_session'} | {'bytes', held, limit} | {'takes', ...} of open.
-- It may be sent twice, so its own ids count as forked.
local runner, count = ARGV.runner, #ARGV - REST + 1
local f = redis.call('HMGET', KEYS.session, 'state', 'runner', 'caller', 'runtime', 'idle_timeout', 'max_age', 'spec', 'metadata', 'reason', 'message', 'shares', 'ends_at',
  'most_bytes', 'shares_bytes', 'memory', 'disk', 'sandbox', 'at_end', 'end_span')
if not f[1] or f[2] ~= runner then return { 'no_session' } end
if redis.call('EXISTS', session_key(ARGV[REST].fork)) == 1 then return { 'forked' } end
if f[1] == 'ended' then return ended_answer(KEYS.session) end
local bytes = session_bytes(f[7], f[8] or '', f[18] or '')
local full = too_many(f[3], count, tonumber(ARGV.most_own)) or no_bytes(f[3], count * bytes, f[13] or '0', f[14]) or
  no_session_room(f[3], 0, count * tonumber(f[16] or 0), ARGV.own_memory, ARGV.own_disk)
if full then return full end
if redis.call('SCARD', runner_sessions_key(runner)) + count > tonumber(ARGV.most) then return { 'full', 'runner', ARGV.most } end
if f[11] then
  local over, own = over_share(f[3], count, { [runner] = true }, tonumber(ARGV.most) - redis.call('SCARD', runner_sessions_key(runner)))
  if over then return { 'full', 'caller', own, own } end
end
local now = now_ms()
local origin = string.sub(KEYS.session, #session_key('') + 1)
for i = REST, #ARGV, STEP do
  local id = ARGV[i].fork
  redis.call('HSET', session_key(id), 'state', 'idle', 'runner', runner, 'caller', f[3], 'runtime', f[4], 'created_at', int(now),
    'last_used', int(now), 'idle_timeout', f[5], 'max_age', f[6], 'spec', f[7], 'forked_from', origin)
  if f[11] then redis.call('HSET', session_key(id), 'shares', 1) end
  if f[13] then redis.call('HSET', session_key(id), 'most_bytes', f[13], 'shares_bytes', f[14]) end
  if f[15] then redis.call('HSET', session_key(id), 'memory', f[15], 'disk', f[16], 'sandbox', f[17] or origin) end
  if f[8] then redis.call('HSET', session_key(id), 'metadata', f[8]) end
  if f[12] then redis.call('HSET', session_key(id), 'ends_at', f[12]) end
  if f[18] then redis.call('HSET', session_key(id), 'at_end', f[18]) end
  if f[19] then redis.call('HSET', session_key(id), 'end_span', f[19]) end
  redis.call('ZADD', SESSIONS_DUE, int(math.min(now + tonumber(f[5]), latest_end(now, f[6], f[12]))), id)
  redis.call('SADD', runner_sessions_key(runner), id)
  redis.call('ZADD', caller_sessions_key(f[3]), 0, id)
  hold_session(id, bytes)
end
return { 'forked' }
