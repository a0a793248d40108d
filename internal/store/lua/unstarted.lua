-- unstarted: records that a runner could start no interpreter for a job. queued -> failed if the
-- first such record is old enough.
-- KEYS job   ARGV id, age in ms at which it fails or '' for never, code, message, tombstone
-- Answers {'queued', ms since the first record} | {'failed'} | {'stale'} | {'gone'} |
-- {'missing'}.
local f = redis.call('HMGET', KEYS[1], 'state', 'unstarted_at')
if not f[1] then return missing(ARGV[1]) end
if f[1] ~= 'queued' and f[1] ~= 'scheduled' then return { 'stale' } end
local now = now_ms()
local since = tonumber(f[2])
if not since then
  since = now
  redis.call('HSET', KEYS[1], 'unstarted_at', int(now))
end
if ARGV[2] == '' or now - since < tonumber(ARGV[2]) then return { 'queued', int(now - since) } end
settle(ARGV[1], 'failed', '', ARGV[3], ARGV[4], ARGV[5])
return { 'failed' }
