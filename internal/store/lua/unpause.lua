-- unpause: jobs of a queue are claimed again. The runners of sessions with something to execute are
-- notified.
-- keys: paused
-- args: queue
-- Answers 1 if it was paused, else 0.
if redis.call('HDEL', KEYS.paused, ARGV.queue) == 0 then return 0 end
if ARGV.queue ~= 'sessions' then return 1 end
for _, id in ipairs(redis.call('SMEMBERS', SESSIONS_BUSY)) do
  local f = redis.call('HMGET', session_key(id), 'state', 'runner', 'current')
  if f[1] == 'busy' and not f[3] then tell_ready(f[2], id) end
end
return 1
