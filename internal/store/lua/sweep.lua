-- sweep: takes jobs whose record has expired out of the listings. It repairs the windows of some
-- callers with held jobs: the place of a job that is gone, for example because a process of an
-- older Kaa claimed it, would be lost to its caller permanently. So would the slot in its share
-- of a job that does not run any more. It releases the bytes of expired records. It also
-- announces again due webhooks that no process has taken, and ends overdue sessions, whose
-- runners do that sooner, and lanes of sessions that an older Kaa has ended. It deletes volumes that were not used for long. Jobs that wait for a batch that has ended, or is deleted, are seen to.
-- keys: expiry, holding, hooks, awaited
-- args: most, tombstone
-- Answers the number of jobs that were taken out.
local due = redis.call('ZRANGEBYSCORE', KEYS.expiry, '-inf', int(now_ms()), 'LIMIT', 0, ARGV.most)
for _, entry in ipairs(due) do
  local id, queue, state = string.match(entry, '^(%S+) (%S+) (%S+)$')
  redis.call('ZREM', index_key(queue, state), id)
  redis.call('ZREM', KEYS.expiry, entry)
end
give_back(ARGV.most)
local filled = 0
for _, entry in ipairs(redis.call('SRANDMEMBER', KEYS.holding, 8)) do
  local queue, caller = string.match(entry, '^(%S+) (%S+)$')
  local window = window_key(queue, caller)
  for _, id in ipairs(redis.call('SMEMBERS', window)) do
    if not waits(redis.call('HGET', job_key(id), 'state')) then redis.call('SREM', window, id) end
  end
  local running = running_key(caller)
  for _, id in ipairs(redis.call('HKEYS', running)) do
    if redis.call('HGET', job_key(id), 'state') ~= 'running' then redis.call('HDEL', running, id) end
  end
  filled = filled + fill(queue, caller)
end
if filled > 0 then redis.call('PUBLISH', P .. 'outbox', int(now_ms())) end
for _, hooks in ipairs({ KEYS.hooks, BATCH_HOOKS }) do
  local hook = redis.call('ZRANGEBYSCORE', hooks, '-inf', int(now_ms()), 'LIMIT', 0, 1)
  if #hook > 0 then redis.call('PUBLISH', P .. 'outbox', 'hooks') end
end
end_overdue(ARGV.most, ARGV.tombstone)
end_lanes(ARGV.most, ARGV.tombstone)
drop_unused(ARGV.most)
for _, batch in ipairs(redis.call('SRANDMEMBER', KEYS.awaited, 8)) do
  local state = redis.call('HGET', batch_key(batch), 'state')
  if state and terminal_state(state) or not state and redis.call('EXISTS', P .. 'gone:' .. batch) == 1 then
    batch_release(batch, now_ms())
  elseif not state then
    batch_forsake(batch, ARGV.tombstone)
  elseif redis.call('EXISTS', awaiting_key(batch)) == 0 then
    redis.call('SREM', KEYS.awaited, batch)
  end
end
return #due
