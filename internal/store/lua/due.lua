-- due: the jobs whose task has to be put on its queue now. Moves nothing.
-- KEYS outbox   ARGV most
-- Answers {ms until the next one, or -1, then per job: id, queue, attempt, timeout, runtime}.
local now = now_ms()
local answer = { -1 }
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now), 'LIMIT', 0, ARGV[1])) do
  local f = redis.call('HMGET', job_key(id), 'state', 'queue', 'attempt', 'timeout', 'runtime')
  if f[1] == 'queued' or f[1] == 'scheduled' then
    for _, v in ipairs({ id, f[2], f[3], f[4], f[5] or '' }) do table.insert(answer, v) end
  else
    redis.call('ZREM', KEYS[1], id)
  end
end
local next = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. int(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
if next[2] then answer[1] = math.max(0, tonumber(next[2]) - now) end
return answer
