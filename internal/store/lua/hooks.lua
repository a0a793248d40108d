-- hooks: takes due webhooks under a lease. Those that are not reported within it are due again.
-- keys: hooks
-- args: most, lease
-- Answers {ms until the next one, or -1, then per webhook: id, attempt, ms since the job's end,
-- secret}.
local now = now_ms()
local answer = { -1 }
local due = redis.call('ZRANGEBYSCORE', KEYS.hooks, '-inf', int(now), 'LIMIT', 0, ARGV.most)
for _, id in ipairs(due) do
  local key = job_key(id)
  local f = redis.call('HMGET', key, 'hook_state', 'state', 'finished_at', 'hook_secret')
  if f[1] == 'pending' and terminal_state(f[2]) then
    local attempt = redis.call('HINCRBY', key, 'hook_attempts', 1)
    redis.call('ZADD', KEYS.hooks, int(now + tonumber(ARGV.lease)), id)
    for _, v in ipairs({ id, attempt, int(now - tonumber(f[3])), f[4] or '' }) do table.insert(answer, v) end
  else
    redis.call('ZREM', KEYS.hooks, id)
  end
end
local next = redis.call('ZRANGE', KEYS.hooks, 0, 0, 'WITHSCORES')
if next[2] then answer[1] = math.max(0, tonumber(next[2]) - now) end
return answer
