-- due: the jobs whose tasks must be enqueued now. It moves only one kind: scheduled -> queued,
-- for a job that is due and whose caller's window is full.
-- keys: outbox
-- args: most
-- Answers {ms until the next one, or -1, then per job: id, queue, attempt, timeout, runtime,
-- passes}.
local now = now_ms()
local answer = { -1 }
local due = redis.call('ZRANGEBYSCORE', KEYS.outbox, '-inf', int(now), 'LIMIT', 0, ARGV.most)
for _, id in ipairs(due) do
  local key = job_key(id)
  local f = redis.call('HMGET', key, 'state', 'queue', 'attempt', 'timeout', 'runtime', 'caller', 'reserve', 'passes', 'most_running')
  if f[1] == 'scheduled' and not admit(id, f[2], f[6], f[7], f[9], now) then
    redis.call('HSET', key, 'state', 'queued', 'queued_at', int(now))
    redis.call('ZREM', KEYS.outbox, id)
    reindex(id, f[2], 'scheduled', 'queued')
  elseif f[1] == 'queued' or f[1] == 'scheduled' then
    for _, v in ipairs({ id, f[2], f[3], f[4], f[5] or '', f[8] or '' }) do table.insert(answer, v) end
  else
    redis.call('ZREM', KEYS.outbox, id)
  end
end
if #due == tonumber(ARGV.most) then
  answer[1] = 0 -- there may be more
  return answer
end
local next = redis.call('ZRANGEBYSCORE', KEYS.outbox, '(' .. int(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
if next[2] then answer[1] = math.max(0, tonumber(next[2]) - now) end
return answer
