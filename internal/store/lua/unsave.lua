-- unsave: deletes a schedule; its jobs stay.
-- args: id
-- Answers {'deleted'}, also if there is none. So it may be sent twice.
local key = P .. 'schedule:' .. ARGV.id
local f = redis.call('HMGET', key, 'caller', 'held')
redis.call('DEL', key, key .. ':jobs')
for _, listing in ipairs({ '', ':all', ':of:' .. (f[1] or '') }) do redis.call('ZREM', P .. 'schedules' .. listing, ARGV.id) end
if f[2] then hold(f[1], -tonumber(f[2])) end
return { 'deleted' }
