-- close: idle | busy -> ended, for a session.
-- KEYS session   ARGV id, caller or '' for any, reason, message, tombstone
-- Answers {'ended'} | {'session_ended', reason, message} | {'no_session'}.
-- Closing a session for the same reason again is no mistake: the command may be sent twice.
local f = redis.call('HMGET', KEYS[1], 'state', 'caller', 'reason', 'message')
if not f[1] or (ARGV[2] ~= '' and f[2] ~= ARGV[2]) then return { 'no_session' } end
if f[1] == 'ended' and f[3] ~= ARGV[3] then return { 'session_ended', f[3], f[4] } end
end_session(ARGV[1], ARGV[3], ARGV[4], false, ARGV[5])
return { 'ended' }
