-- watch: adds a channel to those that are notified of the job's end, unless it has ended.
-- Reading and registering are one step, so no end is missed.
-- KEYS job   ARGV channel
local f = redis.call('HMGET', KEYS[1], 'state', 'notify')
if not f[1] or terminal_state(f[1]) then return 0 end
local list = f[2] or ''
if not string.find(' ' .. list .. ' ', ' ' .. ARGV[1] .. ' ', 1, true) then
  redis.call('HSET', KEYS[1], 'notify', list == '' and ARGV[1] or list .. ' ' .. ARGV[1])
end
return 1
