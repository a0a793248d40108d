-- leave: ends all sessions of a runner that is being shut down.
-- keys: sessions (of the runner)
-- args: let_end ('1' to let what they execute come to its end), reason, message, tombstone
-- Answers how many there were.
local n = 0
for _, id in ipairs(redis.call('SMEMBERS', KEYS.sessions)) do
  if end_session(id, ARGV.reason, ARGV.message, ARGV.let_end == '1', ARGV.tombstone) then n = n + 1 end
end
return n
