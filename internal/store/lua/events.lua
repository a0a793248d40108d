-- events: what happens in an attempt, as entries of the job's stream. Fenced by the claim.
-- KEYS job, events   ARGV id, attempt, runner, id of the oldest event to keep or '',
--                    then per event: seq, type, size, data
-- Answers {'ok'} | {'stale'} | {'gone'} | {'missing'}.
local f = redis.call('HMGET', KEYS[1], 'state', 'attempt', 'runner', 'caller', 'most_bytes', 'shares_bytes', 'event_bytes')
if not f[1] then return missing(ARGV[1]) end
if f[1] ~= 'running' or f[2] ~= ARGV[2] or f[3] ~= ARGV[3] then return { 'stale' } end
-- For a caller that is beyond its share only those are kept that the execution may wait for. Readers see how
-- much is missing: the numbering goes on.
local held = f[5] and tonumber(redis.call('HGET', P .. 'bytes', f[4]) or 0)
local over = held and held > share_of(held, tonumber(f[5]), f[6])
local bytes = 0
for i = 5, #ARGV, 4 do
  local added = 0
  if not over or ARGV[i + 1] == 'input_request' or ARGV[i + 1] == 'status' then
    added = redis.pcall('XADD', KEYS[2], ARGV[2] .. '-' .. ARGV[i], 't', ARGV[i + 1], 'n', ARGV[i + 2], 'd', ARGV[i + 3])
  end
  if type(added) == 'string' then bytes = bytes + #ARGV[i + 3] + EVENT_BYTES end
  if type(added) == 'string' and ARGV[i + 1] == 'input_request' then
    redis.call('HSET', KEYS[1], 'asks', string.match(ARGV[i + 3], '"request":(%d+)'))
  end
  -- An event that is repeated after a lost connection is there already.
  if type(added) == 'table' and added.err and not string.find(added.err, 'equal or smaller', 1, true) then
    return redis.error_reply(added.err)
  end
end
-- No more is kept than MAX_EVENTS, of each of the last two attempts.
local had = tonumber(f[7] or 0)
local has = math.min(had + bytes, MAX_EVENTS * math.min(2, tonumber(ARGV[2])))
if f[4] and has > had then
  redis.call('HSET', KEYS[1], 'event_bytes', int(has))
  hold(f[4], has - had)
end
if ARGV[4] ~= '' then redis.call('XTRIM', KEYS[2], 'MINID', '=', ARGV[4]) end
redis.call('PUBLISH', KEYS[2], '')
return { 'ok' }
