-- requeue: puts queued jobs that have lost their task into the outbox. Fenced by the
-- attempt that the task was for.
-- KEYS outbox   ARGV id, attempt, ...
-- Answers how many there were.
local now, n = int(now_ms()), 0
for i = 1, #ARGV, 2 do
  local f = redis.call('HMGET', job_key(ARGV[i]), 'state', 'attempt')
  if f[1] == 'queued' and tonumber(f[2]) + 1 == tonumber(ARGV[i + 1]) then
    n = n + redis.call('ZADD', KEYS[1], 'NX', now, ARGV[i])
  end
end
if n > 0 then redis.call('PUBLISH', KEYS[1], now) end
return n
