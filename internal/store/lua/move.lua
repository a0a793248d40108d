-- move: moves a session that has no interpreter yet to another runner, the one with the fewest
-- sessions. Its claimed executions move with it: running -> queued, first of their lanes again.
-- keys: session
-- args: session, runner, job, attempt
-- each: runner (that may have it), most (sessions that it has room for)
-- Answers {'moved', runner} | {'full'} | {'stale'}. Sent twice it counts once.
local session, runner, id = ARGV.session, ARGV.runner, ARGV.job
local f = redis.call('HMGET', KEYS.session, 'state', 'runner', 'current', 'moved_from', 'aside', 'paused_at')
if not f[1] or f[1] == 'ended' then return { 'stale' } end
if f[2] ~= runner then return f[4] == runner and { 'moved', f[2] } or { 'stale' } end
local j = redis.call('HMGET', job_key(id), 'state', 'attempt', 'runner', 'lane')
local lane = j[4] or ''
if j[1] ~= 'running' or j[2] ~= ARGV.attempt or j[3] ~= runner then return { 'stale' } end
local lanes = { [''] = f[3] or '' }
local aside = redis.call('HGETALL', session_lanes_key(session))
for i = 1, #aside, 2 do lanes[aside[i]] = aside[i + 1] end
if lanes[lane] ~= id then return { 'stale' } end
if f[6] then return { 'full' } end -- what is being paused has processes here
for _, current in pairs(lanes) do
  if current ~= '' and redis.call('HGET', job_key(current), 'cancel') then return { 'full' } end -- its runner ends it
end
local best, fewest = nil, nil
for i = REST, #ARGV, STEP do
  local other = ARGV[i].runner
  local registered = open_to_sessions(other)
  if other ~= runner and registered then
    local n = redis.call('SCARD', runner_sessions_key(other))
    local able = not f[5] or string.find(registered, '"lanes":true', 1, true)
    if able and n < tonumber(ARGV[i].most) and (not fewest or n < fewest) then best, fewest = other, n end
  end
end
if not best then return { 'full' } end
for of, current in pairs(lanes) do
  local c = redis.call('HMGET', job_key(current), 'state', 'attempt', 'queue')
  if c[1] == 'running' then
    -- The order of the list is that of acceptance, by a number: this was the first of all.
    local jobs = lane_jobs_key(session, of)
    local first = redis.call('ZRANGE', jobs, 0, 0, 'WITHSCORES')[2]
    redis.call('ZADD', jobs, first and tonumber(first) - 1 or 0, current)
    redis.call('HSET', job_key(current), 'state', 'queued', 'attempt', int(tonumber(c[2]) - 1))
    redis.call('HDEL', job_key(current), 'started_at')
    redis.call('SREM', runner_jobs_key(runner), current)
    reindex(current, c[3], 'running', 'queued')
    if of ~= '' then
      redis.call('HSET', session_lanes_key(session), of, '')
      aside_by(session, 1)
    end
  end
  redis.call('SREM', runner_ready_key(runner), ready_member(session, of))
end
redis.call('HSET', KEYS.session, 'runner', best, 'moved_from', runner)
redis.call('HDEL', KEYS.session, 'current')
redis.call('SREM', runner_sessions_key(runner), session)
redis.call('SADD', P .. 'runners', best)
redis.call('SADD', runner_sessions_key(best), session)
for of in pairs(lanes) do turn(session, false, of) end
return { 'moved', best }
