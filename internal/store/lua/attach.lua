-- attach: counts a follower of the bytes that a running command writes, and puts its mark into the stream of these bytes:
-- all that is behind the mark is the follower's. Fenced by the claim.
-- keys: job, output, followers
-- args: id, attempt, runner, follower, at (the position behind the mark), pid, lease, cost (the most bytes that wait for followers)
-- Answers {'ok'} | {'stale'} | {'missing'} | {'gone'}. Sent twice it counts once.
local f = redis.call('HMGET', KEYS.job, 'state', 'attempt', 'runner', 'caller', 'out_cost')
if not f[1] then return missing(ARGV.id) end
if f[1] ~= 'running' or f[2] ~= ARGV.attempt or f[3] ~= ARGV.runner then return { 'stale' } end
local added = redis.pcall('XADD', KEYS.output, ARGV.attempt .. '-' .. ARGV.at, 'k', 'mark', 'd', ARGV.follower .. ' ' .. ARGV.pid)
if type(added) == 'table' and added.err and not string.find(added.err, 'equal or smaller', 1, true) then return redis.error_reply(added.err) end
-- The follower has not taken its mark yet, so the mark stays.
redis.call('HSETNX', KEYS.followers, ARGV.follower, int(tonumber(ARGV.at) - 1) .. ' ' .. int(now_ms() + tonumber(ARGV.lease)))
redis.call('PEXPIRE', KEYS.output, ARGV.lease)
redis.call('PEXPIRE', KEYS.followers, ARGV.lease)
if f[4] and not f[5] then
  redis.call('HSET', KEYS.job, 'out_cost', ARGV.cost)
  hold(f[4], tonumber(ARGV.cost))
end
redis.call('PUBLISH', events_key(ARGV.id), '')
return { 'ok' }
