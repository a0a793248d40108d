-- hooks: takes due webhooks under a lease. Those that are not reported within it are due again. Those of batches get half of the
-- places at most, and a single place goes to the webhook that is due first.
-- keys: hooks, batches
-- args: most, lease
-- Answers {ms until the next one, or -1, then per webhook: id of the job, or id of the batch and the percent; attempt, ms since the
-- job's end or the crossing, secret, caller}.
local now, most, leased = now_ms(), tonumber(ARGV.most), int(now_ms() + tonumber(ARGV.lease))
local answer = { -1 }
local function first_of(key) return tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]) end
local function take(id, attempt, since, secret, caller)
  for _, v in ipairs({ id, attempt, int(now - tonumber(since)), secret or '', caller or '' }) do table.insert(answer, v) end
end
local job, batch = first_of(KEYS.hooks), first_of(KEYS.batches)
local share = math.floor(most / 2)
if most == 1 and batch and (not job or batch < job) then share = 1 end
if share > 0 and batch then
  for _, entry in ipairs(redis.call('ZRANGEBYSCORE', KEYS.batches, '-inf', int(now), 'LIMIT', 0, int(share))) do
    local id, percent = string.match(entry, '^(%S+) (%S+)$')
    local key = batch_key(id)
    local f = redis.call('HMGET', key, 'caller', 'hook:' .. percent, 'hook_at:' .. percent, 'hook_secret')
    if f[1] and f[2] then
      redis.call('ZADD', KEYS.batches, leased, entry)
      take(entry, redis.call('HINCRBY', key, 'hook:' .. percent, 1), f[3], f[4], f[1])
      most = most - 1
    else
      redis.call('ZREM', KEYS.batches, entry)
    end
  end
end
if most > 0 and job then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS.hooks, '-inf', int(now), 'LIMIT', 0, int(most))) do
    local key = job_key(id)
    local f = redis.call('HMGET', key, 'hook_state', 'state', 'finished_at', 'hook_secret', 'caller')
    if f[1] == 'pending' and terminal_state(f[2]) then
      redis.call('ZADD', KEYS.hooks, leased, id)
      take(id, redis.call('HINCRBY', key, 'hook_attempts', 1), f[3], f[4], f[5])
    else
      redis.call('ZREM', KEYS.hooks, id)
    end
  end
end
local next = math.min(first_of(KEYS.hooks) or math.huge, first_of(KEYS.batches) or math.huge)
if next < math.huge then answer[1] = math.max(0, next - now) end
return answer
