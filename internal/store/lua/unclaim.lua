-- unclaim: running -> queued, for a claim whose code has not started: as if it had never been
-- made. Its runner still has the task, and passes it on.
-- keys: job
-- args: id, attempt, runner, tombstone
-- Answers {'queued'} | {'cancelled'} | {'stale'} | {'gone'} | {'missing'}. Sent twice it counts once.
local f = redis.call('HMGET', KEYS.job, 'state', 'attempt', 'runner', 'queue', 'caller', 'cancel')
if not f[1] then return missing(ARGV.id) end
local before = int(tonumber(ARGV.attempt) - 1)
if f[1] == 'queued' and f[2] == before and f[3] == ARGV.runner then return { 'queued' } end
if f[1] ~= 'running' or f[2] ~= ARGV.attempt or f[3] ~= ARGV.runner then return { 'stale' } end
if f[6] then
  settle(ARGV.id, 'cancelled', '', 'cancelled', 'cancelled before it had started', ARGV.tombstone)
  return { 'cancelled' }
end
redis.call('HSET', KEYS.job, 'state', 'queued', 'attempt', before)
redis.call('HDEL', KEYS.job, 'session', 'started_at')
redis.call('SREM', runner_jobs_key(ARGV.runner), ARGV.id)
if reindex(ARGV.id, f[4], 'running', 'queued', f[5]) > 0 then redis.call('PUBLISH', P .. 'outbox', int(now_ms())) end
if f[5] then redis.call('SADD', window_key(f[4], f[5]), ARGV.id) end -- whether there is a free one or not
return { 'queued' }
