-- next: claims the next execution of a session's lane for its runner: queued -> running.
-- keys: session, runner
-- args: session, runner, attached ('1' if it has an interpreter already), lane
-- Answers {'claimed', job, attempt, waited, queue, spec, session spec or '', '1' if events are
-- wanted, caller of the session or ''} | {'none'} | {'ended'} | {'unregistered'}.
-- A repeated call before the end of the claim gets the same answer.
local session, runner, lane = ARGV.session, ARGV.runner, ARGV.lane
local f = redis.call('HMGET', KEYS.session, 'state', 'runner', 'current')
if not f[1] or f[1] == 'ended' or f[2] ~= runner then
  redis.call('SREM', runner_ready_key(runner), ready_member(session, lane))
  return { 'ended' }
end
if redis.call('EXISTS', KEYS.runner) == 0 then return { 'unregistered' } end
local current = f[3]
if lane ~= '' then current = redis.call('HGET', session_lanes_key(session), lane) end
if current and current ~= '' then
  if redis.call('HGET', job_key(current), 'state') == 'running' then return claim_answer(session, current, ARGV.attached) end
  if lane == '' then
    redis.call('HDEL', KEYS.session, 'current')
  else
    redis.call('HSET', session_lanes_key(session), lane, '')
  end
end
local answer = take(session, runner, ARGV.attached, lane)
if not answer then
  if lane ~= '' then drop_lane(session, lane) end
  turn(session, true, lane)
end
return answer or { 'none' }
