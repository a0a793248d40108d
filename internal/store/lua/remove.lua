-- remove: completed | cancelled | failed -> nothing. The record is deleted with its result and
-- events, its webhook is no longer delivered, and its bytes are released. The caller deletes its
-- blobs; the cleaner finds them, too.
-- keys: job
-- args: id, nonce, tombstone
-- Answers {'removed', '1' if it has blobs} | {'unfinished'} | {'gone'} | {'missing'}.
-- The nonce distinguishes a repeated removal from another one.
local id, key = ARGV.id, KEYS.job
local f = redis.call('HMGET', key, 'state', 'queue', 'caller', 'finished_at', 'result_ttl', 'files', 'idempotency', 'repeat_due', 'held_for')
local state, queue, caller = f[1], f[2], f[3]
if not state then
  local removed = redis.call('GET', P .. 'removed:' .. id)
  if removed and string.sub(removed, 1, #ARGV.nonce) == ARGV.nonce then return { 'removed', string.sub(removed, #ARGV.nonce + 1) } end
  return missing(id)
end
if not terminal_state(state) then return { 'unfinished' } end
if caller then
  local ended, ttl = tonumber(f[4]), tonumber(f[5])
  hold_no_more(caller, ended_bytes(key), ended, tonumber(f[9] or ttl))
  hold_no_more(caller, STONE_BYTES, ended, ttl + tonumber(ARGV.tombstone))
end
redis.call('DEL', key, events_key(id), P .. 'gone:' .. id)
redis.call('PUBLISH', events_key(id), '') -- a follower reads, and finds it gone
redis.call('ZREM', P .. 'hooks', id)
redis.call('ZREM', index_key(queue, state), id)
redis.call('ZREM', P .. 'expiry', id .. ' ' .. queue .. ' ' .. state)
if lists_own(queue, caller) then
  redis.call('ZREM', index_key(own_queue(queue, caller), state), id)
  redis.call('ZREM', P .. 'expiry', id .. ' ' .. own_queue(queue, caller) .. ' ' .. state)
end
if f[7] then
  local seen = redis.call('GET', f[7])
  if seen and string.match(seen, ' (%S+)$') == id then
    redis.call('DEL', f[7])
    if f[8] and caller then take_back(caller, REPEAT_BYTES, f[8]) end
  end
end
if f[6] then redis.call('ZADD', P .. 'blobs', int(now_ms()), id) end
redis.call('SET', P .. 'removed:' .. id, ARGV.nonce .. (f[6] or ''), 'PX', 60000)
return { 'removed', f[6] or '' }
