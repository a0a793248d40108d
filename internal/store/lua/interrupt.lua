-- interrupt: requests the end of the running execution of a session's lane, as cancel does for a job.
-- keys: session
-- args: session, caller, lane
-- Answers {'interrupted', job} | {'idle'} | {'session_ended', reason, message, volume} | {'no_session'}.
local f = redis.call('HMGET', KEYS.session, 'state', 'caller', 'reason', 'message', 'current', 'runner')
if not f[1] or f[2] ~= ARGV.caller then return { 'no_session' } end
if f[1] == 'ended' then return ended_answer(KEYS.session) end
local current = f[5]
if ARGV.lane ~= '' then current = redis.call('HGET', session_lanes_key(ARGV.session), ARGV.lane) end
if not current or redis.call('HGET', job_key(current), 'state') ~= 'running' then return { 'idle' } end
redis.call('HSET', job_key(current), 'cancel', '1')
tell_cancelled(f[6], current)
return { 'interrupted', current }
