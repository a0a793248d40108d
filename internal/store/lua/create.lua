-- create: nothing -> scheduled | queued.
-- KEYS job, idempotency key (any key when there is none)
-- ARGV id, queue, state, max_attempts, scheduled_at, timeout, result_ttl,
--      metadata, spec, notify, fingerprint, idempotency_ttl, outbox_delay, runtime,
--      waiter, waiter_ttl, caller, webhook url, webhook secret, session, events, whether it has files,
--      how many bytes the caller's records may take or '0', whether callers share that, whether there is no other caller, and the commands that put its task on its queue, each after its length
-- Answers {'created', now, 'held' or 'enqueued' or nothing} | {'replay', id} | {'mismatch'} |
-- {'full', queue or '' for the caller, depth, limit} | {'bytes', held, limit} | {'no_session'} |
-- {'session_ended', reason, message}.
-- It may be sent twice (the client repeats after a lost connection), so its own
-- id counts as created.
local id, queue, state, fingerprint, caller = ARGV[1], ARGV[2], ARGV[3], ARGV[11], ARGV[17]
local session, events = ARGV[20], ARGV[21]
if fingerprint ~= '' then
  local seen = redis.call('GET', KEYS[2])
  if seen then
    local print, owner = string.match(seen, '^(%S+) (%S+)$')
    if print ~= fingerprint then return { 'mismatch' } end
    if owner ~= id then return { 'replay', owner } end
  end
end
local now = now_ms()
if redis.call('EXISTS', KEYS[1]) == 1 then
  -- Its task was enqueued with it, or is in the outbox.
  local become = redis.call('ZSCORE', held_key(queue, caller), id) and 'held' or ARGV[26] and 'enqueued'
  return { 'created', redis.call('HGET', KEYS[1], 'created_at'), become }
end
local observed = false
if session ~= '' then
  local f = redis.call('HMGET', session_key(session), 'state', 'caller', 'reason', 'message', 'observed')
  if f[2] ~= caller then return { 'no_session' } end -- as it is for another caller's session
  if f[1] == 'ended' then return { 'session_ended', f[3], f[4] } end
  local depth = redis.call('ZCARD', session_jobs_key(session))
  if depth >= MAX_SESSION_DEPTH then return { 'full', queue, depth, MAX_SESSION_DEPTH } end
  observed = queue ~= 'operations' and f[5] and tonumber(f[5]) > now
  if observed then events = '1' end
end
-- Only a new record can exceed a limit, and a refused one leaves no trace.
if MAX_DEPTH > 0 then
  local depth = redis.call('ZCARD', index_key(queue, 'queued')) + redis.call('ZCARD', index_key(queue, 'scheduled'))
  if depth >= MAX_DEPTH then return { 'full', queue, depth, MAX_DEPTH } end
end
if MAX_CALLER_DEPTH > 0 then
  local depth = tonumber(redis.call('HGET', P .. 'waiting', caller) or 0)
  if depth >= MAX_CALLER_DEPTH then return { 'full', '', depth, MAX_CALLER_DEPTH } end
end
local bytes, most_bytes = #ARGV[9] + #ARGV[8] + RECORD_BYTES, tonumber(ARGV[23])
if most_bytes > 0 then
  local held = tonumber(redis.call('HGET', P .. 'bytes', caller) or 0)
  local most = share_of(held, most_bytes, ARGV[24] ~= '')
  if held + bytes > most then return { 'bytes', held, int(most) } end
end
if fingerprint ~= '' then redis.call('SET', KEYS[2], fingerprint .. ' ' .. id, 'PX', ARGV[12]) end
local record = { 'state', state, 'queue', queue, 'attempt', '0', 'max_attempts', ARGV[4],
  'created_at', int(now), 'timeout', ARGV[6], 'result_ttl', ARGV[7], 'spec', ARGV[9], 'caller', caller }
local function put(field, value)
  if value == '' then return end
  record[#record + 1] = field
  record[#record + 1] = value
end
put('metadata', ARGV[8])
put('notify', ARGV[10])
put('files', ARGV[22] ~= '' and '1' or '')
put('runtime', ARGV[14])
if ARGV[18] ~= '' then
  put('hook_url', ARGV[18])
  put('hook_state', 'pending')
  put('hook_attempts', '0')
  put('hook_secret', ARGV[19])
end
put('idempotency', fingerprint ~= '' and KEYS[2] or '') -- to be free again when the job is deleted
if session == '' then put('reserve', RESERVE) end
-- For finish: a runner does not know them.
put('most_bytes', most_bytes > 0 and ARGV[23] or '')
put('shares_bytes', most_bytes > 0 and ARGV[24] or '')
put('alone', ARGV[25]) -- for the files that it leaves
put('events', events ~= '' and '1' or '')
put('waiter', ARGV[15])
put('scheduled_at', ARGV[5] ~= '0' and ARGV[5] or '')
if state ~= 'scheduled' then
  put('queued_at', int(now))
  put('in_session', session)
  put('session', session)
end
redis.call('HSET', KEYS[1], unpack(record))
count(caller, 1)
hold(caller, bytes)
if ARGV[15] ~= '' then
  -- The first job that a process waits for registers the process, so that the path of a job has
  -- no heartbeat on it.
  redis.call('SADD', waiter_jobs_key(ARGV[15]), id)
  redis.call('SADD', P .. 'waiters', 'waiter:' .. ARGV[15])
  redis.call('SET', waiter_key(ARGV[15]), '1', 'PX', ARGV[16])
end
if queue ~= 'operations' then redis.call('SADD', P .. 'queues', queue) end
redis.call('ZADD', index_key(queue, state), 0, id)
if queue == 'sessions' then redis.call('ZADD', index_key(own_queue(queue, caller), state), 0, id) end
if state == 'scheduled' then
  redis.call('ZADD', P .. 'outbox', ARGV[5], id)
  redis.call('PUBLISH', P .. 'outbox', ARGV[5])
else
  if session ~= '' then
    local number = redis.call('HINCRBY', session_key(session), 'accepted', 1)
    redis.call('ZADD', session_jobs_key(session), number, id)
    if observed then
      local log = session_log_key(session)
      redis.call('ZADD', log, number, id)
      redis.call('ZREMRANGEBYRANK', log, 0, -1 - MAX_SESSION_DEPTH)
      redis.call('PEXPIRE', log, LOG_TTL)
      redis.call('PUBLISH', session_key(session), '')
    end
    turn(session)
    return { 'created', int(now) }
  end
  if not admit(id, queue, caller, RESERVE, now) then
    -- Those of a caller that is at its share follow each other one by one: at once, with this.
    if RESERVE ~= '' and ARGV[26] then
      local task = {}
      for i = 26, #ARGV do task[#task + 1] = #ARGV[i] .. ':' .. ARGV[i] end
      redis.call('HSET', KEYS[1], 'task', table.concat(task))
    end
    return { 'created', int(now), 'held' }
  end
  -- If Redis does not take the commands, they are for the outbox: the record is written by now.
  if ARGV[26] and run_all(ARGV, 26) then return { 'created', int(now), 'enqueued' } end
  redis.call('ZADD', P .. 'outbox', int(now + tonumber(ARGV[13])), id)
end
return { 'created', int(now) }
