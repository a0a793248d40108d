-- unattended: ends the jobs of those named waiting processes whose lease has lapsed. scheduled |
-- queued -> cancelled; a running job gets the durable flag, and its runner is notified, as by a
-- cancel.
-- KEYS waiters   ARGV code, message, tombstone, waiter:id, ...
-- Answers {id, state, ...}.
local answer = {}
for i = 4, #ARGV do
  local member = ARGV[i]
  local waiter = string.match(member, '^waiter:(.+)$')
  if redis.call('EXISTS', waiter_key(waiter)) == 0 then
    for _, id in ipairs(redis.call('SMEMBERS', waiter_jobs_key(waiter))) do
      local key = job_key(id)
      local f = redis.call('HMGET', key, 'state', 'runner')
      if f[1] == 'running' then
        redis.call('HSET', key, 'cancel', '1')
        tell_cancelled(f[2], id)
      elseif f[1] and not terminal_state(f[1]) then
        settle(id, 'cancelled', '', ARGV[1], ARGV[2], ARGV[3])
      end
      if f[1] and not terminal_state(f[1]) then
        table.insert(answer, id)
        table.insert(answer, redis.call('HGET', key, 'state'))
      end
    end
    redis.call('DEL', waiter_jobs_key(waiter))
    redis.call('SREM', KEYS[1], member)
  end
end
return answer
