-- output: bytes that a command has written, for its followers. Without any, it is a look at what they have taken. Fenced by the
-- claim.
-- keys: job, output, followers
-- args: id, attempt, runner, lease, waits (1: the runner waits until a follower takes more)
-- each: at (the position behind it), kind, data
-- Answers {'ok', position up to which all followers have taken} | {'none'} if there is no follower | {'stale'} | {'missing'} |
-- {'gone'}. Sent twice it counts once.
local f = redis.call('HMGET', KEYS.job, 'state', 'attempt', 'runner')
if not f[1] then return missing(ARGV.id) end
if f[1] ~= 'running' or f[2] ~= ARGV.attempt or f[3] ~= ARGV.runner then return { 'stale' } end
local now, least = now_ms(), nil
local all = redis.call('HGETALL', KEYS.followers)
for i = 1, #all, 2 do
  if all[i] ~= '*' then
    local taken, expires = string.match(all[i + 1], '^(%d+) (%d+)$')
    if tonumber(expires) < now then
      redis.call('HDEL', KEYS.followers, all[i])
    else
      least = math.min(least or tonumber(taken), tonumber(taken))
    end
  end
end
if not least then
  redis.call('DEL', KEYS.output, KEYS.followers)
  return { 'none' }
end
for i = REST, #ARGV, STEP do
  local added = redis.pcall('XADD', KEYS.output, ARGV.attempt .. '-' .. ARGV[i].at, 'k', ARGV[i].kind, 'd', ARGV[i].data)
  if type(added) == 'table' and added.err and not string.find(added.err, 'equal or smaller', 1, true) then return redis.error_reply(added.err) end
end
redis.call('XTRIM', KEYS.output, 'MINID', '=', ARGV.attempt .. '-' .. int(least + 1))
redis.call('PEXPIRE', KEYS.output, ARGV.lease)
redis.call('PEXPIRE', KEYS.followers, ARGV.lease)
if ARGV.waits == '1' then redis.call('HSET', KEYS.followers, '*', '1') end
if #ARGV >= REST then redis.call('PUBLISH', events_key(ARGV.id), '') end
return { 'ok', int(least) }
