-- rescue: settles the jobs of those named runners whose heartbeat has lapsed, and ends their
-- sessions. running -> failed, or -> queued while attempts are left.
-- keys: runners
-- args: message, tombstone
-- each: runner
-- Answers {id, new state, ...}.
local answer = {}
for i = REST, #ARGV, STEP do
  local runner = ARGV[i].runner
  if redis.call('EXISTS', P .. 'runner:' .. runner) == 0 then
    for _, id in ipairs(redis.call('SMEMBERS', runner_sessions_key(runner))) do
      local running = aside_of(id)
      table.insert(running, redis.call('HGET', session_key(id), 'current') or nil)
      end_session(id, 'runner_lost', 'the runner that it lived on was lost', false, ARGV.tombstone)
      for _, job in ipairs(running) do
        table.insert(answer, job)
        table.insert(answer, 'failed')
      end
    end
    redis.call('DEL', runner_sessions_key(runner), runner_ready_key(runner))
    for _, id in ipairs(redis.call('SMEMBERS', runner_jobs_key(runner))) do
      local f = redis.call('HMGET', job_key(id), 'state', 'runner')
      if f[1] == 'running' and f[2] == runner then
        table.insert(answer, id)
        table.insert(answer, retry_or_fail(id, 'runner_lost', ARGV.message, ARGV.tombstone))
      end
    end
    redis.call('DEL', runner_jobs_key(runner))
    redis.call('SREM', KEYS.runners, runner)
    redis.call('SREM', P .. 'drained', runner)
  end
end
return answer
