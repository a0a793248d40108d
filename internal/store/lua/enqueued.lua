-- enqueued: scheduled -> queued, once the task is on its queue; a job that is
-- queued already only leaves the outbox.
-- KEYS outbox   ARGV ids
for _, id in ipairs(ARGV) do
  local key = job_key(id)
  local f = redis.call('HMGET', key, 'state', 'queue')
  if f[1] == 'scheduled' then
    redis.call('HSET', key, 'state', 'queued', 'queued_at', int(now_ms()))
    reindex(id, f[2], 'scheduled', 'queued')
  end
  redis.call('ZREM', KEYS[1], id)
end
return redis.status_reply('OK')
