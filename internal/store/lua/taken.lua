-- taken: notes how far a follower has taken the bytes that a command writes, and that it is there. A runner that waits for it
-- is notified.
-- keys: job, output, followers
-- args: id, follower, at (the position; empty if it leaves), lease
-- Answers {'ok'} | {'lost'}: the command does not wait for this follower any more, and it may have missed some.
local lost = redis.call('HEXISTS', KEYS.followers, ARGV.follower) == 0
if ARGV.at == '' then
  redis.call('HDEL', KEYS.followers, ARGV.follower)
  local left = redis.call('HLEN', KEYS.followers)
  if left == 0 or left == 1 and redis.call('HEXISTS', KEYS.followers, '*') == 1 then redis.call('DEL', KEYS.output) end
elseif not lost then
  redis.call('HSET', KEYS.followers, ARGV.follower, ARGV.at .. ' ' .. int(now_ms() + tonumber(ARGV.lease)))
  redis.call('PEXPIRE', KEYS.output, ARGV.lease)
  redis.call('PEXPIRE', KEYS.followers, ARGV.lease)
end
if redis.call('HDEL', KEYS.followers, '*') == 1 then
  local f = redis.call('HMGET', KEYS.job, 'state', 'runner')
  if f[1] == 'running' then tell_command(f[2], ARGV.id) end
end
return { lost and 'lost' or 'ok' }
