-- events: what happens in an attempt, as entries of the job's stream. Fenced by the claim.
-- KEYS job, events   ARGV id, attempt, runner, id of the oldest event to keep or '',
--                    then per event: seq, type, size, data
-- Answers {'ok'} | {'stale'} | {'gone'} | {'missing'}.
local f = redis.call('HMGET', KEYS[1], 'state', 'attempt', 'runner')
if not f[1] then return missing(ARGV[1]) end
if f[1] ~= 'running' or f[2] ~= ARGV[2] or f[3] ~= ARGV[3] then return { 'stale' } end
for i = 5, #ARGV, 4 do
  local added = redis.pcall('XADD', KEYS[2], ARGV[2] .. '-' .. ARGV[i], 't', ARGV[i + 1], 'n', ARGV[i + 2], 'd', ARGV[i + 3])
  if type(added) == 'string' and ARGV[i + 1] == 'input_request' then
    redis.call('HSET', KEYS[1], 'asks', string.match(ARGV[i + 3], '"request":(%d+)'))
  end
  -- An event that is repeated after a lost connection is there already.
  if type(added) == 'table' and added.err and not string.find(added.err, 'equal or smaller', 1, true) then
    return redis.error_reply(added.err)
  end
end
if ARGV[4] ~= '' then redis.call('XTRIM', KEYS[2], 'MINID', '=', ARGV[4]) end
redis.call('PUBLISH', KEYS[2], '')
return { 'ok' }
