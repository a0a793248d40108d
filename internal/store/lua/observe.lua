-- observe: for observers of all executions of a session: the executions accepted since their
-- last call. From the first call on accepted executions are recorded for them, as long as they
-- call again within the lease.
-- keys: session
-- args: session, caller, lease, last (number of the last execution that they know of, or '' at
--       first)
-- Answers {'live', number} or {'over', number, reason, message}, then the jobs, in order; at
-- first, and after the lease had lapsed, with the running and waiting executions. Or {'no_session'}.
local id, after = ARGV.session, ARGV.last
local f = redis.call('HMGET', KEYS.session, 'state', 'caller', 'reason', 'message', 'current', 'runner', 'observed', 'accepted')
if not f[1] or f[2] ~= ARGV.caller then return { 'no_session' } end
local now = now_ms()
local answer = f[1] == 'ended' and { 'over', f[8] or '0', f[3], f[4] } or { 'live', f[8] or '0' }

-- show has the events of a job written.
local function show(job)
  local j = redis.call('HMGET', job_key(job), 'state', 'queue', 'events')
  if not j[1] or terminal_state(j[1]) or j[2] == 'operations' then return end
  if not j[3] then
    redis.call('HSET', job_key(job), 'events', '1')
    if j[1] == 'running' then tell_watched(f[6], job) end
  end
  table.insert(answer, job)
end

local lapsed = not f[7] or tonumber(f[7]) < now
if after ~= '' then
  for _, job in ipairs(redis.call('ZRANGEBYSCORE', session_log_key(id), '(' .. after, '+inf')) do table.insert(answer, job) end
end
if after == '' or lapsed then
  if f[5] then show(f[5]) end
  local running, waiting = aside_of(id)
  for _, job in ipairs(running) do show(job) end
  for _, job in ipairs(redis.call('ZRANGE', session_jobs_key(id), 0, -1)) do show(job) end
  for _, job in ipairs(waiting) do show(job) end
end
if f[1] ~= 'ended' then redis.call('HSET', KEYS.session, 'observed', int(now + tonumber(ARGV.lease))) end
return answer
