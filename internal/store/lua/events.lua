-- events: what happens in an attempt, as entries of the job's stream. Fenced by the claim.
-- keys: job, events
-- args: id, attempt, runner, oldest (id of the oldest event to keep, or '')
-- each: seq, type, size, data
-- Answers {'ok'} | {'stale'} | {'gone'} | {'missing'}.
local f = redis.call('HMGET', KEYS.job, 'state', 'attempt', 'runner', 'caller', 'most_bytes', 'shares_bytes', 'event_bytes', 'shares_of')
if not f[1] then return missing(ARGV.id) end
if f[1] ~= 'running' or f[2] ~= ARGV.attempt or f[3] ~= ARGV.runner then return { 'stale' } end
-- For a caller that is beyond its share only those are kept that the execution may wait for. Readers see how
-- much is missing: the numbering goes on.
local held = f[5] and tonumber(redis.call('HGET', P .. 'bytes', f[4]) or 0)
local over = held and held > share_of(held, tonumber(f[5]), f[6] or f[8])
local bytes = 0
for i = REST, #ARGV, STEP do
  local added = 0
  if not over or ARGV[i].type == 'input_request' or ARGV[i].type == 'status' or ARGV[i].type == 'call' or ARGV[i].type == 'call_end' then
    added = redis.pcall('XADD', KEYS.events, ARGV.attempt .. '-' .. ARGV[i].seq, 't', ARGV[i].type, 'n', ARGV[i].size, 'd', ARGV[i].data)
  end
  if type(added) == 'string' then bytes = bytes + #ARGV[i].data + EVENT_BYTES end
  if type(added) == 'string' and ARGV[i].type == 'input_request' then
    redis.call('HSET', KEYS.job, 'asks', string.match(ARGV[i].data, '"request":(%d+)'))
  end
  if type(added) == 'string' and ARGV[i].type == 'call' then
    open_call(ARGV.id, string.match(ARGV[i].data, '"callId":"([%d-]+)"'))
  elseif type(added) == 'string' and ARGV[i].type == 'call_end' then
    redis.call('HDEL', calls_key(ARGV.id), string.match(ARGV[i].data, '"callId":"([%d-]+)"'))
  end
  -- An event that is repeated after a lost connection is there already.
  if type(added) == 'table' and added.err and not string.find(added.err, 'equal or smaller', 1, true) then
    return redis.error_reply(added.err)
  end
end
if f[4] then hold_events(ARGV.id, f[4], f[7], bytes, ARGV.attempt) end
if ARGV.oldest ~= '' then redis.call('XTRIM', KEYS.events, 'MINID', '=', ARGV.oldest) end
redis.call('PUBLISH', KEYS.events, '')
return { 'ok' }
