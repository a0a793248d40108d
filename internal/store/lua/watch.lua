-- watch: adds a channel to those that are notified of the job's end, unless it has ended.
-- Reading and registering are one step, so no end is missed.
-- keys: job
-- args: channel
local f = redis.call('HMGET', KEYS.job, 'state', 'notify')
if not f[1] or terminal_state(f[1]) then return 0 end
local list = f[2] or ''
if not string.find(' ' .. list .. ' ', ' ' .. ARGV.channel .. ' ', 1, true) then
  redis.call('HSET', KEYS.job, 'notify', list == '' and ARGV.channel or list .. ' ' .. ARGV.channel)
end
return 1
