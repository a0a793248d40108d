-- runs: the schedules whose next run is due. It reads only.
-- keys: schedules
-- args: most
-- Answers {now, ms until the next one, or -1, then per schedule: id, due}.
local now = now_ms()
local due = redis.call('ZRANGEBYSCORE', KEYS.schedules, '-inf', int(now), 'WITHSCORES', 'LIMIT', 0, ARGV.most)
local next = redis.call('ZRANGEBYSCORE', KEYS.schedules, '(' .. int(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local answer = { int(now), next[2] and int(tonumber(next[2]) - now) or -1 }
for i = 1, #due, 2 do
  answer[#answer + 1] = due[i]
  answer[#answer + 1] = int(tonumber(due[i + 1]))
end
return answer
