-- reject: scheduled | queued -> failed, for a job that could not be started.
-- keys: job
-- args: id, code, message, tombstone
local state = redis.call('HGET', KEYS.job, 'state')
if not state then return missing(ARGV.id) end
if state ~= 'queued' and state ~= 'scheduled' then return { 'stale' } end
settle(ARGV.id, 'failed', '', ARGV.code, ARGV.message, ARGV.tombstone)
return { 'failed' }
