-- close: idle | busy -> ended, for a session.
-- keys: session
-- args: id, caller (or '' for any), reason, message, tombstone
-- Answers {'ended'} | {'session_ended', reason, message, volume} | {'no_session'}.
-- Closing a session for the same reason again is no mistake: the command may be sent twice.
local f = redis.call('HMGET', KEYS.session, 'state', 'caller', 'reason', 'message')
if not f[1] or (ARGV.caller ~= '' and f[2] ~= ARGV.caller) then return { 'no_session' } end
if f[1] == 'ended' and f[3] ~= ARGV.reason then return ended_answer(KEYS.session) end
end_session(ARGV.id, ARGV.reason, ARGV.message, false, ARGV.tombstone)
return { 'ended' }
