-- finish: running -> completed | cancelled | failed, or back to queued when
-- ARGV[8] allows a retry and attempts are left.
-- KEYS job   ARGV id, attempt, runner, to, result, code, message, retry, tombstone,
--            what its files take or '', and for an execution of a session: its id, why the session
--            ends or '', the same for people, and '1' if its interpreter was replaced
-- Answers {state}, {'no_room'}, {'stale'}, {'gone'} or {'missing'}. Only the current claim may
-- finish; the same end sent twice counts once. For a session that goes on with another
-- execution, {state, 'claimed', ...} as next does, or {state, 'none'}.
local f = redis.call('HMGET', KEYS[1], 'state', 'attempt', 'runner', 'caller', 'most_bytes', 'shares_bytes')
if not f[1] then return missing(ARGV[1]) end
if f[2] ~= ARGV[2] or f[3] ~= ARGV[3] then return { 'stale' } end
if f[1] == ARGV[4] then return { f[1] } end
if f[1] ~= 'running' then return { 'stale' } end
if ARGV[8] == '1' then return { retry_or_fail(ARGV[1], ARGV[6], ARGV[7], ARGV[9]) } end
-- Jobs are accepted before the size of their results is known: many at once could fill Redis for
-- all callers. So no result is kept for a caller that exceeds its share already. A result no
-- larger than the record itself always has room.
if f[5] and #ARGV[5] > RECORD_BYTES then
  local held = tonumber(redis.call('HGET', P .. 'bytes', f[4]) or 0)
  if held > share_of(held, tonumber(f[5]), f[6]) then return { 'no_room' } end
end
if ARGV[10] ~= '' then
  redis.call('HSET', KEYS[1], 'files', '1')
  if f[4] then keep_files(ARGV[1], f[4], ARGV[2], tonumber(ARGV[10])) end
end
local session, reason = ARGV[11], ARGV[12]
if session and reason ~= '' and ARGV[4] == 'failed' then redis.call('HSET', KEYS[1], 'failure_reason', reason) end
settle(ARGV[1], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[9], session)
if not session then return { ARGV[4] } end
if ARGV[14] == '1' and redis.call('EXISTS', session_key(session)) == 1 then redis.call('HINCRBY', session_key(session), 'restarts', 1) end
if reason ~= '' then
  end_session(session, reason, ARGV[13], false, ARGV[9])
  return { ARGV[4], 'none' }
end
-- A runner whose heartbeat has lapsed has to register again before it may go on.
if redis.call('HGET', session_key(session), 'state') ~= 'busy' or redis.call('EXISTS', P .. 'runner:' .. ARGV[3]) == 0 then
  turn(session)
  return { ARGV[4], redis.call('EXISTS', session_jobs_key(session)) == 0 and 'none' or 'ask' }
end
local answer = take(session, ARGV[3], '1') or { 'none' }
table.insert(answer, 1, ARGV[4])
return answer
