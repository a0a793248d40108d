-- sweep: takes jobs whose record has expired out of the listings.
-- KEYS expiry   ARGV most
-- Answers how many were taken out.
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now_ms()), 'LIMIT', 0, ARGV[1])
for _, entry in ipairs(due) do
  local id, queue, state = string.match(entry, '^(%S+) (%S+) (%S+)$')
  redis.call('ZREM', index_key(queue, state), id)
  redis.call('ZREM', KEYS[1], entry)
end
return #due
