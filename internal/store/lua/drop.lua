-- drop: takes a file out of what a job's result lists. The result itself, which may be
-- large, is not written again.
-- KEYS job   ARGV id, key of the file
-- Answers {'ok'} | {'gone'} | {'missing'}.
local f = redis.call('HMGET', KEYS[1], 'state', 'dropped')
if not f[1] then return missing(ARGV[1]) end
local dropped = f[2] or ''
if not string.find(' ' .. dropped .. ' ', ' ' .. ARGV[2] .. ' ', 1, true) then
  redis.call('HSET', KEYS[1], 'dropped', dropped .. ' ' .. ARGV[2])
end
return { 'ok' }
