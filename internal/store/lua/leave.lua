-- leave: ends all sessions of a runner that is being shut down.
-- KEYS the runner's sessions   ARGV 1 to let what they execute come to its end, reason,
--                              message, tombstone
-- Answers how many there were.
local n = 0
for _, id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  if end_session(id, ARGV[2], ARGV[3], ARGV[1] == '1', ARGV[4]) then n = n + 1 end
end
return n
