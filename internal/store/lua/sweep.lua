-- sweep: takes jobs whose record has expired out of the listings, and looks after the
-- seats of some callers who have jobs held: a seat whose job is gone, say because a
-- process of an older Kaa claimed it, would be lost to its caller for ever.
-- So would be a place in its share of a job that does not run any more.
-- It counts the bytes of records that have expired no more.
-- It also tells again of webhooks that are due and that nobody has taken, and ends overdue
-- sessions, whose runners do that sooner.
-- KEYS expiry, holding, hooks   ARGV most, tombstone
-- Answers how many were taken out.
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now_ms()), 'LIMIT', 0, ARGV[1])
for _, entry in ipairs(due) do
  local id, queue, state = string.match(entry, '^(%S+) (%S+) (%S+)$')
  redis.call('ZREM', index_key(queue, state), id)
  redis.call('ZREM', KEYS[1], entry)
end
give_back(ARGV[1])
local filled = 0
for _, entry in ipairs(redis.call('SRANDMEMBER', KEYS[2], 8)) do
  local queue, caller = string.match(entry, '^(%S+) (%S+)$')
  local seats = seats_key(queue, caller)
  for _, id in ipairs(redis.call('SMEMBERS', seats)) do
    if not waits(redis.call('HGET', job_key(id), 'state')) then redis.call('SREM', seats, id) end
  end
  local running = running_key(caller)
  for _, id in ipairs(redis.call('HKEYS', running)) do
    if redis.call('HGET', job_key(id), 'state') ~= 'running' then redis.call('HDEL', running, id) end
  end
  filled = filled + fill(queue, caller)
end
if filled > 0 then redis.call('PUBLISH', P .. 'outbox', int(now_ms())) end
local hook = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', int(now_ms()), 'LIMIT', 0, 1)
if #hook > 0 then redis.call('PUBLISH', P .. 'outbox', 'hooks') end
end_overdue(ARGV[1], ARGV[2])
return #due
