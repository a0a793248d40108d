-- follow: has the events of a job written from now on, unless it has ended; its runner is
-- notified.
-- keys: job
-- args: id
-- Answers {state} | {'gone'} | {'missing'}.
local f = redis.call('HMGET', KEYS.job, 'state', 'events', 'runner')
if not f[1] then return missing(ARGV.id) end
if not terminal_state(f[1]) and not f[2] then
  redis.call('HSET', KEYS.job, 'events', '1')
  if f[1] == 'running' then tell_watched(f[3], ARGV.id) end
end
return { f[1] }
