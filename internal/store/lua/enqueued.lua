-- enqueued: scheduled -> queued, once the task is on its queue; a job that is
-- queued already only leaves the outbox. Fenced by the attempt that the task is
-- for, and by how often a task of it was passed over: a confirmation that comes late must not
-- take out the entry of a retry.
-- keys: outbox
-- each: id, attempt, passes
for i = REST, #ARGV, STEP do
  local id = ARGV[i].id
  local key = job_key(id)
  local f = redis.call('HMGET', key, 'state', 'queue', 'attempt', 'passes')
  if not f[1] then
    redis.call('ZREM', KEYS.outbox, id)
  elseif tonumber(f[3]) + 1 == tonumber(ARGV[i].attempt) and tonumber(f[4] or 0) == tonumber(ARGV[i].passes) then
    if f[1] == 'scheduled' then
      redis.call('HSET', key, 'state', 'queued', 'queued_at', int(now_ms()))
      reindex(id, f[2], 'scheduled', 'queued')
    end
    redis.call('ZREM', KEYS.outbox, id)
  end
end
return redis.status_reply('OK')
