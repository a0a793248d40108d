-- halt: marks a session whose processes its runner has stopped. It becomes paused at the end of the job that pauses it, in the
-- default lane. Jobs of other lanes that stand still with the processes go on running.
-- keys: session
-- args: session, runner, job, pause (how long it may be paused), resumes ('1' if the next job resumes it),
--       most (paused sessions that its caller may have, or '0')
-- each: frozen (a job of another lane that stands still)
-- Answers {'halted'} | {'waits'}: other jobs wait, or others than the frozen ones run | {'full', limit, how many there are} | {'stale'}.
-- Sent twice it counts once.
local session = ARGV.session
local f = redis.call('HMGET', KEYS.session, 'state', 'runner', 'current', 'caller', 'paused_at', 'at_end')
if not f[1] or f[1] == 'ended' or f[2] ~= ARGV.runner or f[3] ~= ARGV.job then return { 'stale' } end
if f[5] then return { 'halted' } end
if redis.call('EXISTS', session_jobs_key(session)) == 1 then return { 'waits' } end
local frozen = {}
for i = REST, #ARGV, STEP do frozen[ARGV[i].frozen] = true end
local running, waiting = aside_of(session)
if #waiting > 0 then return { 'waits' } end
for _, id in ipairs(running) do
  if not frozen[id] then return { 'waits' } end
end
local most, own = tonumber(ARGV.most), redis.call('SCARD', caller_paused_key(f[4]))
if most > 0 and own >= most then return { 'full', most, own } end
local now = now_ms()
redis.call('HSET', KEYS.session, 'paused_at', int(now), 'pause_until', int(now + tonumber(ARGV.pause)))
if ARGV.resumes == '1' then redis.call('HSET', KEYS.session, 'resumes', 1) end
if f[6] then
  redis.call('HDEL', KEYS.session, 'ends_at') -- the resume sets it
  forget_ending(KEYS.session)
end
redis.call('SADD', caller_paused_key(f[4]), session)
return { 'halted' }
