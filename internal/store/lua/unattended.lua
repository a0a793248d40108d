-- unattended: ends the jobs of those named waiting processes whose lease has lapsed. scheduled |
-- queued -> cancelled; a running job gets the durable flag, and its runner is notified, as by a
-- cancel.
-- keys: waiters
-- args: code, message, tombstone
-- each: waiter (with the prefix waiter:)
-- Answers {id, state, ...}.
local answer = {}
for i = REST, #ARGV, STEP do
  local member = ARGV[i].waiter
  local waiter = string.match(member, '^waiter:(.+)$')
  if redis.call('EXISTS', waiter_key(waiter)) == 0 then
    for _, id in ipairs(redis.call('SMEMBERS', waiter_jobs_key(waiter))) do
      local key = job_key(id)
      local f = redis.call('HMGET', key, 'state', 'runner')
      if f[1] == 'running' then
        redis.call('HSET', key, 'cancel', '1')
        tell_cancelled(f[2], id)
      elseif f[1] and not terminal_state(f[1]) then
        settle(id, 'cancelled', '', ARGV.code, ARGV.message, ARGV.tombstone)
      end
      if f[1] and not terminal_state(f[1]) then
        table.insert(answer, id)
        table.insert(answer, redis.call('HGET', key, 'state'))
      end
    end
    redis.call('DEL', waiter_jobs_key(waiter))
    redis.call('SREM', KEYS.waiters, member)
  end
end
return answer
