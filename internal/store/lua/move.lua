-- move: moves a session that has no interpreter yet to another runner, the one with the fewest
-- sessions. Its claimed execution moves with it: running -> queued, first of the session again.
-- keys: session
-- args: session, runner, job, attempt
-- each: runner (that may have it), most (sessions that it has room for)
-- Answers {'moved', runner} | {'full'} | {'stale'}. Sent twice it counts once.
local session, runner, id = ARGV.session, ARGV.runner, ARGV.job
local f = redis.call('HMGET', KEYS.session, 'state', 'runner', 'current', 'moved_from')
if not f[1] or f[1] == 'ended' then return { 'stale' } end
if f[2] ~= runner then return f[4] == runner and { 'moved', f[2] } or { 'stale' } end
local j = redis.call('HMGET', job_key(id), 'state', 'attempt', 'runner', 'queue', 'cancel')
if f[3] ~= id or j[1] ~= 'running' or j[2] ~= ARGV.attempt or j[3] ~= runner then return { 'stale' } end
if j[5] then return { 'full' } end -- its runner ends it
local best, fewest = nil, nil
for i = REST, #ARGV, STEP do
  local other = ARGV[i].runner
  if other ~= runner and redis.call('EXISTS', P .. 'runner:' .. other) == 1 then
    local n = redis.call('SCARD', runner_sessions_key(other))
    if n < tonumber(ARGV[i].most) and (not fewest or n < fewest) then best, fewest = other, n end
  end
end
if not best then return { 'full' } end
-- The order of the list is that of acceptance, by a number: this was the first of all.
local first = redis.call('ZRANGE', session_jobs_key(session), 0, 0, 'WITHSCORES')[2]
redis.call('ZADD', session_jobs_key(session), first and tonumber(first) - 1 or 0, id)
redis.call('HSET', job_key(id), 'state', 'queued', 'attempt', int(tonumber(j[2]) - 1))
redis.call('HDEL', job_key(id), 'started_at')
redis.call('SREM', runner_jobs_key(runner), id)
reindex(id, j[4], 'running', 'queued')
redis.call('HSET', KEYS.session, 'runner', best, 'moved_from', runner)
redis.call('HDEL', KEYS.session, 'current')
redis.call('SREM', runner_sessions_key(runner), session)
redis.call('SREM', runner_ready_key(runner), session)
redis.call('SADD', P .. 'runners', best)
redis.call('SADD', runner_sessions_key(best), session)
turn(session)
return { 'moved', best }
