-- expired: finds jobs and batches whose record has expired, or that were never recorded, and whose blobs are
-- still there. One whose record stays longer, for its webhook, is looked at again when that expires.
-- keys: blobs
-- args: most
-- Answers {id, ...}.
local now = now_ms()
local answer = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS.blobs, '-inf', int(now), 'LIMIT', 0, ARGV.most)) do
  local of_batch = is_of_batch(id) and not batch_of(id)
  local left = redis.call('PTTL', of_batch and batch_key(id) or job_key(id))
  if left == -2 then
    table.insert(answer, id)
  elseif left == -1 and not of_batch then
    -- It was recorded after its files were stored: it comes back here with its end.
    redis.call('HSET', job_key(id), 'files', '1')
    redis.call('ZREM', KEYS.blobs, id)
  else
    redis.call('ZADD', KEYS.blobs, int(now + math.max(1000, left)), id)
  end
end
return answer
