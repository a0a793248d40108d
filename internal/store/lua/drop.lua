-- drop: takes a file out of the list in a job's result. The result itself, which may be large,
-- is not written again.
-- KEYS job   ARGV id, key of the file, its bytes
-- Answers {'ok'} | {'gone'} | {'missing'}.
local f = redis.call('HMGET', KEYS[1], 'state', 'dropped', 'attempt', 'caller')
if not f[1] then return missing(ARGV[1]) end
local dropped = f[2] or ''
if string.find(' ' .. dropped .. ' ', ' ' .. ARGV[2] .. ' ', 1, true) then return { 'ok' } end
redis.call('HSET', KEYS[1], 'dropped', dropped .. ' ' .. ARGV[2])
local kept = tonumber(redis.call('HGET', kept_key(ARGV[1]), f[3]) or 0)
if kept > 0 then keep_files(ARGV[1], f[4], f[3], math.max(0, kept - tonumber(ARGV[3]))) end
return { 'ok' }
