-- sessions: ends overdue sessions of all callers. It returns the sessions of a runner, and those
-- of their lanes that have an unclaimed execution, as members of the set of these, and those that are to be paused.
-- keys: sessions
-- args: runner, most, tombstone
-- Answers {number of lanes with an unclaimed execution, number of texts about sessions to be paused, the former, the latter (session, caller and
-- arguments of each), then all of them}.
end_overdue(ARGV.most, ARGV.tombstone)
local ready = redis.call('SMEMBERS', runner_ready_key(ARGV.runner))
local ends = ending(ARGV.runner, now_ms())
local answer = { #ready, #ends }
for _, id in ipairs(ready) do table.insert(answer, id) end
for _, text in ipairs(ends) do table.insert(answer, text) end
for _, id in ipairs(redis.call('SMEMBERS', runner_sessions_key(ARGV.runner))) do table.insert(answer, id) end
return answer
