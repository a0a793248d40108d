-- interrupt: requests the end of a session's running execution, as cancel does for a job.
-- keys: session
-- args: caller
-- Answers {'interrupted', job} | {'idle'} | {'session_ended', reason, message} | {'no_session'}.
local f = redis.call('HMGET', KEYS.session, 'state', 'caller', 'reason', 'message', 'current', 'runner')
if not f[1] or f[2] ~= ARGV.caller then return { 'no_session' } end
if f[1] == 'ended' then return { 'session_ended', f[3], f[4] } end
if not f[5] or redis.call('HGET', job_key(f[5]), 'state') ~= 'running' then return { 'idle' } end
redis.call('HSET', job_key(f[5]), 'cancel', '1')
tell_cancelled(f[6], f[5])
return { 'interrupted', f[5] }
