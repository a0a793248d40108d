-- next: claims the next execution of a session for its runner: queued -> running.
-- keys: session, runner
-- args: session, runner, attached ('1' if it has an interpreter already)
-- Answers {'claimed', job, attempt, waited, queue, spec, session spec or '', '1' if events are
-- wanted} | {'none'} | {'ended'} | {'unregistered'}.
-- A repeated call before the end of the claim gets the same answer.
local session, runner = ARGV.session, ARGV.runner
local f = redis.call('HMGET', KEYS.session, 'state', 'runner', 'current')
if not f[1] or f[1] == 'ended' or f[2] ~= runner then
  redis.call('SREM', runner_ready_key(runner), session)
  return { 'ended' }
end
if redis.call('EXISTS', KEYS.runner) == 0 then return { 'unregistered' } end
if f[3] then
  if redis.call('HGET', job_key(f[3]), 'state') == 'running' then return claim_answer(session, f[3], ARGV.attached) end
  redis.call('HDEL', KEYS.session, 'current')
end
local answer = take(session, runner, ARGV.attached)
if not answer then turn(session, true) end
return answer or { 'none' }
