-- archives: takes the archive of a batch that is to be written, under a lease. One that is not reported within it is due again. The
-- owner whose archive the process wrote before comes after others.
-- keys: archives
-- args: token (of this attempt), lease, unended (ms until a batch is looked at again that has not ended), last (the owner of
--       the archive before, or '')
-- Answers {ms until the next one, or -1} | {-1, id of the batch, owner, attempt}.
local now, best, owner = now_ms(), nil, nil
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS.archives, '-inf', int(now), 'LIMIT', 0, 256)) do
  local f = redis.call('HMGET', batch_key(id), 'caller', 'state', 'archive')
  if not f[1] or f[3] ~= 'waiting' then
    redis.call('ZREM', KEYS.archives, id)
  elseif not terminal_state(f[2]) then
    redis.call('ZADD', KEYS.archives, int(now + tonumber(ARGV.unended)), id)
  elseif not best or f[1] ~= ARGV.last then
    best, owner = id, f[1]
    if owner ~= ARGV.last then break end
  end
end
if best then
  redis.call('ZADD', KEYS.archives, int(now + tonumber(ARGV.lease)), best)
  redis.call('HSET', batch_key(best), 'archive_token', ARGV.token)
  return { -1, best, owner, redis.call('HINCRBY', batch_key(best), 'archive_attempts', 1) }
end
local next = redis.call('ZRANGE', KEYS.archives, 0, 0, 'WITHSCORES')[2]
return { next and math.max(0, tonumber(next) - now) or -1 }
