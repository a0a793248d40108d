-- requeue: puts queued jobs that have lost their task into the outbox. Fenced by the
-- attempt that the task was for.
-- keys: outbox
-- each: id, attempt
-- Answers how many there were.
local now, n = int(now_ms()), 0
for i = REST, #ARGV, STEP do
  local f = redis.call('HMGET', job_key(ARGV[i].id), 'state', 'attempt')
  if f[1] == 'queued' and tonumber(f[2]) + 1 == tonumber(ARGV[i].attempt) then
    n = n + redis.call('ZADD', KEYS.outbox, 'NX', now, ARGV[i].id)
  end
end
if n > 0 then redis.call('PUBLISH', KEYS.outbox, now) end
return n
