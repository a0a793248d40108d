-- sessions: ends sessions that are overdue, whoever's they are, and tells a runner which it
-- has, and which of them have something to do that nobody has claimed.
-- KEYS sessions   ARGV runner, most, tombstone
-- Answers {how many have something to do, these, then all of them}.
end_overdue(ARGV[2], ARGV[3])
local ready = redis.call('SMEMBERS', runner_ready_key(ARGV[1]))
local answer = { #ready }
for _, id in ipairs(ready) do table.insert(answer, id) end
for _, id in ipairs(redis.call('SMEMBERS', runner_sessions_key(ARGV[1]))) do table.insert(answer, id) end
return answer
