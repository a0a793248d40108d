-- drop: takes a file out of the list in a job's result. The result itself, which may be large,
-- is not written again.
-- keys: job
-- args: id, file (its key), bytes
-- Answers {'ok'} | {'gone'} | {'missing'}.
local f = redis.call('HMGET', KEYS.job, 'state', 'dropped', 'attempt', 'caller')
if not f[1] then return missing(ARGV.id) end
local dropped = f[2] or ''
if string.find(' ' .. dropped .. ' ', ' ' .. ARGV.file .. ' ', 1, true) then return { 'ok' } end
redis.call('HSET', KEYS.job, 'dropped', dropped .. ' ' .. ARGV.file)
local kept = tonumber(redis.call('HGET', kept_key(ARGV.id), f[3]) or 0)
if kept > 0 then keep_files(ARGV.id, f[4], f[3], math.max(0, kept - tonumber(ARGV.bytes))) end
return { 'ok' }
