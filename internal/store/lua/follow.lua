-- follow: has the events of a job written from now on, unless it has ended; its runner is
-- notified.
-- KEYS job   ARGV id
-- Answers {state} | {'gone'} | {'missing'}.
local f = redis.call('HMGET', KEYS[1], 'state', 'events', 'runner')
if not f[1] then return missing(ARGV[1]) end
if not terminal_state(f[1]) and not f[2] then
  redis.call('HSET', KEYS[1], 'events', '1')
  if f[1] == 'running' then tell_watched(f[3], ARGV[1]) end
end
return { f[1] }
