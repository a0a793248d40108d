-- claim: queued -> running, also scheduled -> queued -> running for a job that
-- is due but whose promotion was not confirmed. A job whose caller executes as many as it
-- may is held instead, until one of those ends.
-- keys: job, runner
-- args: id, runner, session
-- Answers {'claimed', attempt, waited, queue, spec, how many jobs that were held are
-- in the outbox now, '1' if events are wanted} | {'stale', state} | {'held'} | {'paused'} |
-- {'unregistered'} | {'gone'} | {'missing'}. The same claim sent twice counts once.
local id, runner, session = ARGV.id, ARGV.runner, ARGV.session
local f = redis.call('HMGET', KEYS.job, 'state', 'queue', 'attempt', 'queued_at', 'scheduled_at', 'runner', 'session',
  'spec', 'started_at', 'events', 'caller', 'reserve', 'most_running')
local state = f[1]
if not state then return missing(id) end
if state == 'running' and f[6] == runner and f[7] == session then
  return { 'claimed', f[3], int(tonumber(f[9]) - tonumber(f[4])), f[2], f[8], 0, f[10] }
end
-- A runner whose heartbeat has lapsed may be written off at any moment: it has
-- to register again before it may take a job.
if redis.call('EXISTS', KEYS.runner) == 0 then return { 'unregistered' } end
local now = now_ms()
local ready = f[4]
if state == 'scheduled' and tonumber(f[5]) <= now then
  ready = f[5]
  redis.call('HSET', KEYS.job, 'queued_at', ready)
elseif state ~= 'queued' then
  return { 'stale', state }
end
if is_paused(f[2]) then return { 'paused' } end
if share_left(f[2], f[11], f[12], f[13], 1) < 1 then
  if state == 'scheduled' then
    redis.call('HSET', KEYS.job, 'state', 'queued')
    reindex(id, f[2], state, 'queued', f[11])
  end
  -- It keeps its place, by the time since which it is ready. Its next task is another one than that
  -- which is being handled.
  redis.call('SREM', window_key(f[2], f[11]), id)
  redis.call('ZADD', held_key(f[2], f[11]), ready, id)
  redis.call('SADD', P .. 'holding', f[2] .. ' ' .. f[11])
  redis.call('ZREM', P .. 'outbox', id)
  redis.call('HINCRBY', KEYS.job, 'passes', 1)
  return { 'held' }
end
local attempt = int(tonumber(f[3]) + 1)
redis.call('HSET', KEYS.job, 'state', 'running', 'attempt', attempt, 'runner', runner, 'session', session,
  'started_at', int(now))
redis.call('SADD', P .. 'runners', runner)
redis.call('SADD', runner_jobs_key(runner), id)
redis.call('ZREM', P .. 'outbox', id)
if f[12] or f[13] or is_tenant(f[11]) then redis.call('HSET', running_key(f[11]), id, runner) end
local filled = reindex(id, f[2], state, 'running', f[11])
return { 'claimed', attempt, int(math.max(0, now - tonumber(ready))), f[2], f[8], filled, f[10] }
