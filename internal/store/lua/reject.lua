-- reject: scheduled | queued -> failed, for a job that could not be started.
-- KEYS job   ARGV id, code, message, tombstone
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return missing(ARGV[1]) end
if state ~= 'queued' and state ~= 'scheduled' then return { 'stale' } end
settle(ARGV[1], 'failed', '', ARGV[2], ARGV[3], ARGV[4])
return { 'failed' }
