-- finish: running -> completed | cancelled | failed, or back to queued if retry is '1' and attempts
-- are left.
-- keys: job
-- args: id, attempt, runner, to, result, code, message, retry, tombstone,
--       files (the bytes that they take, or ''), session (of the execution, or ''),
--       reason (why the session ends, or ''), end_message (the same for people),
--       restarted ('1' if its interpreter was replaced),
--       bound (that a refused operation has reached: used/allowed, or ''),
--       spent (what it took, for use_job)
-- Answers {state}, {'no_room'}, {'stale'}, {'gone'} or {'missing'}. Only the current claim may
-- finish; the same end sent twice counts once, and a retry that is sent twice is stale. For a lane that goes on with another
-- execution, {state, 'claimed', ...} as next does, or {state, 'none'}.
local f = redis.call('HMGET', KEYS.job, 'state', 'attempt', 'runner', 'caller', 'most_bytes', 'shares_bytes', 'lane', 'shares_of')
if not f[1] then return missing(ARGV.id) end
if f[2] ~= ARGV.attempt or f[3] ~= ARGV.runner then return { 'stale' } end
if f[1] == ARGV.to then return { f[1] } end
if f[1] ~= 'running' then return { 'stale' } end
if ARGV.retry == '1' then return { retry_or_fail(ARGV.id, ARGV.code, ARGV.message, ARGV.tombstone) } end
-- Jobs are accepted before the size of their results is known: many at once could fill Redis for
-- all callers. So no result is kept for a caller that exceeds its share already. A result no
-- larger than the record itself always has room.
if f[5] and #ARGV.result > RECORD_BYTES then
  local held = tonumber(redis.call('HGET', P .. 'bytes', f[4]) or 0)
  if held > share_of(held, tonumber(f[5]), f[6] or f[8]) then return { 'no_room' } end
end
if ARGV.files ~= '' then
  redis.call('HSET', KEYS.job, 'files', '1')
  if f[4] then keep_files(ARGV.id, f[4], ARGV.attempt, tonumber(ARGV.files)) end
end
local session, reason, lane = ARGV.session, ARGV.reason, f[7] or ''
if session ~= '' and reason ~= '' and ARGV.to == 'failed' then redis.call('HSET', KEYS.job, 'failure_reason', reason) end
-- Only a session that ends has a reason, so the field of that has the bound.
if ARGV.bound ~= '' then redis.call('HSET', KEYS.job, 'failure_reason', ARGV.bound) end
settle(ARGV.id, ARGV.to, ARGV.result, ARGV.code, ARGV.message, ARGV.tombstone, session ~= '', ARGV.spent)
if session == '' then return { ARGV.to } end
if ARGV.restarted == '1' and redis.call('EXISTS', session_key(session)) == 1 then redis.call('HINCRBY', session_key(session), 'restarts', 1) end
if reason ~= '' then
  end_session(session, reason, ARGV.end_message, false, ARGV.tombstone)
  return { ARGV.to, 'none' }
end
-- A runner whose heartbeat has lapsed has to register again before it may go on.
if redis.call('HGET', session_key(session), 'state') ~= 'busy' or redis.call('EXISTS', P .. 'runner:' .. ARGV.runner) == 0 then
  turn(session, false, lane)
  return { ARGV.to, redis.call('EXISTS', lane_jobs_key(session, lane)) == 0 and 'none' or 'ask' }
end
local answer = take(session, ARGV.runner, '1', lane) or { 'none' }
table.insert(answer, 1, ARGV.to)
return answer
