-- started: records the process id of a running command of a session, and wakes who waits for it. Fenced by the claim.
-- keys: job
-- args: id, attempt, runner, pid
-- Answers {'ok'} | {'stale'} | {'missing'} | {'gone'}. Sent twice it counts once.
local f = redis.call('HMGET', KEYS.job, 'state', 'attempt', 'runner')
if not f[1] then return missing(ARGV.id) end
if f[1] ~= 'running' or f[2] ~= ARGV.attempt or f[3] ~= ARGV.runner then return { 'stale' } end
redis.call('HSET', KEYS.job, 'pid', ARGV.pid)
redis.call('PUBLISH', events_key(ARGV.id), '')
return { 'ok' }
