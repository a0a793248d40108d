-- sessions: ends overdue sessions of all callers. It returns the sessions of a runner, and those
-- of their lanes that have an unclaimed execution, as members of the set of these.
-- keys: sessions
-- args: runner, most, tombstone
-- Answers {number of lanes with an unclaimed execution, these, then all of them}.
end_overdue(ARGV.most, ARGV.tombstone)
local ready = redis.call('SMEMBERS', runner_ready_key(ARGV.runner))
local answer = { #ready }
for _, id in ipairs(ready) do table.insert(answer, id) end
for _, id in ipairs(redis.call('SMEMBERS', runner_sessions_key(ARGV.runner))) do table.insert(answer, id) end
return answer
