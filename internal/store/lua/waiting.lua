-- waiting: the oldest queued jobs that are not in the outbox, and not held back until
-- it is their caller's turn: each has to have a task.
-- keys: outbox
-- args: queue, most
-- Answers per job: id, queue, attempt, timeout, runtime, passes. Moves nothing.
local answer = {}
for _, id in ipairs(redis.call('ZRANGE', index_key(ARGV.queue, 'queued'), 0, ARGV.most - 1)) do
  local f = redis.call('HMGET', job_key(id), 'state', 'queue', 'attempt', 'timeout', 'runtime', 'caller', 'passes')
  local held = f[6] and redis.call('ZSCORE', P .. 'held:' .. f[2] .. ':' .. f[6], id)
  if f[1] == 'queued' and not held and not redis.call('ZSCORE', KEYS.outbox, id) then
    for _, v in ipairs({ id, f[2], f[3], f[4], f[5] or '', f[7] or '' }) do table.insert(answer, v) end
  end
end
return answer
