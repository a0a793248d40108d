-- mend: makes registry, listings and records agree again; the records are right.
-- keys: runners
-- args: queue, most (per listing)
-- Answers {kind, how many, ...}.
local counts = {}
local function count(kind) counts[kind] = (counts[kind] or 0) + 1 end
for _, runner in ipairs(redis.call('SMEMBERS', KEYS.runners)) do
  for _, id in ipairs(redis.call('SMEMBERS', runner_jobs_key(runner))) do
    local f = redis.call('HMGET', job_key(id), 'state', 'runner')
    if f[1] ~= 'running' or f[2] ~= runner then
      redis.call('SREM', runner_jobs_key(runner), id)
      count('claim_without_record')
    end
  end
end
local queue = ARGV.queue
for _, listed in ipairs({ 'running', 'queued', 'scheduled' }) do
  for _, id in ipairs(redis.call('ZRANGE', index_key(queue, listed), 0, ARGV.most - 1)) do
    local f = redis.call('HMGET', job_key(id), 'state', 'runner', 'caller')
    if not f[1] then
      redis.call('ZREM', index_key(queue, listed), id)
      count('listing_without_record')
    elseif f[1] ~= listed then
      -- Not reindex: the job has not moved, only its listing is wrong.
      redis.call('ZREM', index_key(queue, listed), id)
      redis.call('ZADD', index_key(queue, f[1]), 0, id)
      if lists_own(queue, f[3]) then
        redis.call('ZREM', index_key(own_queue(queue, f[3]), listed), id)
        redis.call('ZADD', index_key(own_queue(queue, f[3]), f[1]), 0, id)
      end
      count('listing_of_other_state')
    elseif listed == 'running' then
      -- With it back in the registry, its runner or the rescue sees to it.
      local known = redis.call('SADD', KEYS.runners, f[2]) + redis.call('SADD', runner_jobs_key(f[2]), id)
      if known > 0 then count('record_without_claim') end
    end
  end
end
local answer = {}
for kind, n in pairs(counts) do
  table.insert(answer, kind)
  table.insert(answer, n)
end
return answer
