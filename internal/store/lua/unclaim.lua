-- unclaim: running -> queued, for a claim whose code has not started: as if it had never been
-- made. Its runner still has the task, and passes it on.
-- KEYS job   ARGV id, attempt, runner, tombstone
-- Answers {'queued'} | {'cancelled'} | {'stale'} | {'gone'} | {'missing'}. Sent twice it counts once.
local f = redis.call('HMGET', KEYS[1], 'state', 'attempt', 'runner', 'queue', 'caller', 'cancel')
if not f[1] then return missing(ARGV[1]) end
local before = int(tonumber(ARGV[2]) - 1)
if f[1] == 'queued' and f[2] == before and f[3] == ARGV[3] then return { 'queued' } end
if f[1] ~= 'running' or f[2] ~= ARGV[2] or f[3] ~= ARGV[3] then return { 'stale' } end
if f[6] then
  settle(ARGV[1], 'cancelled', '', 'cancelled', 'cancelled before it had started', ARGV[4])
  return { 'cancelled' }
end
redis.call('HSET', KEYS[1], 'state', 'queued', 'attempt', before)
redis.call('HDEL', KEYS[1], 'session', 'started_at')
redis.call('SREM', runner_jobs_key(ARGV[3]), ARGV[1])
if reindex(ARGV[1], f[4], 'running', 'queued', f[5]) > 0 then redis.call('PUBLISH', P .. 'outbox', int(now_ms())) end
if f[5] then redis.call('SADD', window_key(f[4], f[5]), ARGV[1]) end -- whether there is a free one or not
return { 'queued' }
