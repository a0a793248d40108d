-- unstarted: records that a runner could start no interpreter for a job. queued -> failed if the
-- first such record is old enough.
-- keys: job
-- args: id, age (in ms at which it fails, or '' for never), code, message, tombstone
-- Answers {'queued', ms since the first record} | {'failed'} | {'stale'} | {'gone'} |
-- {'missing'}.
local f = redis.call('HMGET', KEYS.job, 'state', 'unstarted_at')
if not f[1] then return missing(ARGV.id) end
if f[1] ~= 'queued' and f[1] ~= 'scheduled' then return { 'stale' } end
local now = now_ms()
local since = tonumber(f[2])
if not since then
  since = now
  redis.call('HSET', KEYS.job, 'unstarted_at', int(now))
end
if ARGV.age == '' or now - since < tonumber(ARGV.age) then return { 'queued', int(now - since) } end
settle(ARGV.id, 'failed', '', ARGV.code, ARGV.message, ARGV.tombstone)
return { 'failed' }
