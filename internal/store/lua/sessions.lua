-- sessions: ends overdue sessions of all callers. It returns the sessions of a runner, and those
-- of them that have an unclaimed execution.
-- KEYS sessions   ARGV runner, most, tombstone
-- Answers {number of those with an unclaimed execution, these, then all of them}.
end_overdue(ARGV[2], ARGV[3])
local ready = redis.call('SMEMBERS', runner_ready_key(ARGV[1]))
local answer = { #ready }
for _, id in ipairs(ready) do table.insert(answer, id) end
for _, id in ipairs(redis.call('SMEMBERS', runner_sessions_key(ARGV[1]))) do table.insert(answer, id) end
return answer
