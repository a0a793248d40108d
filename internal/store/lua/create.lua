-- create: nothing -> scheduled | queued.
-- keys: job, idempotency (any key when there is none)
-- args: id, queue, state, max_attempts, scheduled_at, timeout, result_ttl, metadata, spec, notify,
--       fingerprint, idempotency_ttl, outbox_delay, runtime, waiter, waiter_ttl, caller, hook_url,
--       hook_secret, session, events, files ('1' if it has some),
--       most_waiting (jobs of the caller that may wait because of its key, or '0'),
--       most_running (the same for jobs that run),
--       most_bytes (that the caller's records may take, or '0'), shared (as for share_of),
--       alone ('1' if there is no other caller), after (a batch that has to end before it is due, or ''),
--       rerun_of (the job that it runs again, or ''),
--       lane (of its session; '' for the default one), wakes ('1' if it resumes a paused session)
-- The rest are the commands that put its task on its queue, each after its length.
-- Answers {'created', now, 'held' or 'enqueued' or nothing} | {'replay', id} | {'mismatch'} |
-- {'full', queue or '' for the caller, depth, limit, 'key' if the limit is that of the key} | {'bytes', held, limit} | {'no_session'} |
-- {'session_ended', reason, message, volume} | {'session_paused'} | {'lanes', busy, limit} | {'old_runner'} | {'stopped'}: its batch does not want it any more |
-- {'no_batch'}, {'awaited', depth, limit}: about the batch of after.
-- It may be sent twice (the client repeats after a lost connection), so its own
-- id counts as created.
local id, queue, state, fingerprint, caller = ARGV.id, ARGV.queue, ARGV.state, ARGV.fingerprint, ARGV.caller
local session, events = ARGV.session, ARGV.events
if fingerprint ~= '' then
  local seen = redis.call('GET', KEYS.idempotency)
  if seen then
    local print, owner = string.match(seen, '^(%S+) (%S+)$')
    if print ~= fingerprint then return { 'mismatch' } end
    if owner ~= id then return { 'replay', owner } end
  end
end
local now = now_ms()
if redis.call('EXISTS', KEYS.job) == 1 then
  -- Its task was enqueued with it, or is in the outbox.
  local become = redis.call('ZSCORE', held_key(queue, caller), id) and 'held' or ARGV[REST] and 'enqueued'
  return { 'created', redis.call('HGET', KEYS.job, 'created_at'), become }
end
local batch, index = batch_of(id)
if batch then
  local became = redis.call('HGET', batch_key(batch), 'state')
  if became ~= 'receiving' and became ~= 'running' or batch_has_ended(batch_key(batch), index) then return { 'stopped' } end
end
local due_at = ARGV.scheduled_at
if ARGV.after ~= '' then
  local became = redis.call('HGET', batch_key(ARGV.after), 'state')
  if not became then return { 'no_batch' } end
  if terminal_state(became) then
    due_at = int(now)
  else
    local depth = redis.call('SCARD', awaiting_key(ARGV.after))
    if depth >= MAX_AWAITING then return { 'awaited', depth, MAX_AWAITING } end
  end
end
local observed, paused, lane = false, false, ARGV.lane
if session ~= '' then
  local f = redis.call('HMGET', session_key(session), 'state', 'caller', 'reason', 'message', 'observed', 'aside', 'runner', 'paused_at', 'resumes')
  if f[2] ~= caller then return { 'no_session' } end -- as it is for another caller's session
  if f[1] == 'ended' then return ended_answer(session_key(session)) end
  paused = f[8]
  if paused and not f[9] and ARGV.wakes == '' then return { 'session_paused' } end
  if lane ~= '' and not f[6] then
    -- An older runner claims only from the default lane. Its operations are in order with everything else, as they were.
    local info = redis.call('GET', P .. 'runner:' .. f[7])
    if not info or not string.find(info, '"lanes":true', 1, true) then
      if queue ~= 'operations' then return { 'old_runner' } end
      lane = ''
    end
  end
  if lane ~= '' and redis.call('HEXISTS', session_lanes_key(session), lane) == 0 then
    local busy = redis.call('HLEN', session_lanes_key(session))
    if busy >= MAX_LANES then return { 'lanes', busy, MAX_LANES } end
  end
  local depth = redis.call('ZCARD', session_jobs_key(session)) + tonumber(f[6] or 0)
  if depth >= MAX_SESSION_DEPTH then return { 'full', queue, depth, MAX_SESSION_DEPTH } end
  observed = queue ~= 'operations' and f[5] and tonumber(f[5]) > now
  if observed then events = '1' end
end
-- Only a new record can exceed a limit, and a refused one leaves no trace.
if MAX_DEPTH > 0 then
  local depth = redis.call('ZCARD', index_key(queue, 'queued')) + redis.call('ZCARD', index_key(queue, 'scheduled'))
  if depth >= MAX_DEPTH then return { 'full', queue, depth, MAX_DEPTH } end
end
local of_key = tonumber(ARGV.most_waiting)
if MAX_CALLER_DEPTH > 0 or of_key > 0 then
  local depth = tonumber(redis.call('HGET', P .. 'waiting', caller) or 0)
  if of_key > 0 and depth >= of_key then return { 'full', '', depth, of_key, 'key' } end
  if MAX_CALLER_DEPTH > 0 and depth >= MAX_CALLER_DEPTH then return { 'full', '', depth, MAX_CALLER_DEPTH } end
end
local bytes, again = #ARGV.spec + #ARGV.metadata + hook_bytes(ARGV.hook_url) + RECORD_BYTES, fingerprint ~= '' and REPEAT_BYTES or 0
local full = no_bytes(caller, bytes + again, ARGV.most_bytes, ARGV.shared)
if full then return full end
local repeat_due = ''
if fingerprint ~= '' then
  redis.call('SET', KEYS.idempotency, fingerprint .. ' ' .. id, 'PX', ARGV.idempotency_ttl)
  repeat_due = due_after(now, tonumber(ARGV.idempotency_ttl))
  release_at(caller, again, repeat_due)
end
local record = { 'state', state, 'queue', queue, 'attempt', '0', 'max_attempts', ARGV.max_attempts,
  'created_at', int(now), 'timeout', ARGV.timeout, 'result_ttl', ARGV.result_ttl, 'spec', ARGV.spec, 'caller', caller }
local function put(field, value)
  if value == '' then return end
  record[#record + 1] = field
  record[#record + 1] = value
end
put('metadata', ARGV.metadata)
put('notify', ARGV.notify)
put('files', ARGV.files ~= '' and '1' or '')
put('runtime', ARGV.runtime)
if ARGV.hook_url ~= '' then
  put('hook_url', ARGV.hook_url)
  put('hook_state', 'pending')
  put('hook_attempts', '0')
  put('hook_secret', ARGV.hook_secret)
end
put('idempotency', fingerprint ~= '' and KEYS.idempotency or '') -- to be free again when the job is deleted
put('repeat_due', repeat_due)
local most_running = session == '' and ARGV.most_running ~= '0' and ARGV.most_running or nil
if session == '' then put('reserve', RESERVE) end
put('most_running', most_running or '')
-- For finish: a runner does not know them.
if ARGV.most_bytes ~= '0' then
  put('most_bytes', ARGV.most_bytes)
  -- A process of an older Kaa knows only the former. Of the latter it sees a limit of the caller's own.
  put(ARGV.shared == '1' and 'shares_bytes' or 'shares_of', ARGV.shared)
end
put('alone', ARGV.alone) -- for the files that it leaves
put('events', events ~= '' and '1' or '')
put('waiter', ARGV.waiter)
put('scheduled_at', due_at ~= '0' and due_at or '')
put('after', ARGV.after)
put('rerun_of', ARGV.rerun_of)
if state ~= 'scheduled' then
  put('queued_at', int(now))
  put('in_session', session)
  put('session', session)
  put('lane', lane)
end
redis.call('HSET', KEYS.job, unpack(record))
if batch then redis.call('HINCRBY', batch_key(batch), 'fed', 1) end
count(caller, 1)
hold(caller, bytes + again)
if ARGV.waiter ~= '' then
  -- The first job that a process waits for registers the process, so that the path of a job has
  -- no heartbeat on it.
  redis.call('SADD', waiter_jobs_key(ARGV.waiter), id)
  redis.call('SADD', P .. 'waiters', 'waiter:' .. ARGV.waiter)
  redis.call('SET', waiter_key(ARGV.waiter), '1', 'PX', ARGV.waiter_ttl)
end
if queue ~= 'operations' then redis.call('SADD', P .. 'queues', queue) end
redis.call('ZADD', index_key(queue, state), 0, id)
if lists_own(queue, caller) then redis.call('ZADD', index_key(own_queue(queue, caller), state), 0, id) end
if state == 'scheduled' and due_at == '0' then
  redis.call('SADD', awaiting_key(ARGV.after), id)
  redis.call('SADD', BATCHES_AWAITED, ARGV.after)
elseif state == 'scheduled' then
  redis.call('ZADD', P .. 'outbox', due_at, id)
  redis.call('PUBLISH', P .. 'outbox', due_at)
else
  if session ~= '' then
    local number = redis.call('HINCRBY', session_key(session), 'accepted', 1)
    redis.call('ZADD', lane_jobs_key(session, lane), number, id)
    if lane ~= '' then
      redis.call('HSETNX', session_lanes_key(session), lane, '')
      redis.call('HINCRBY', session_key(session), 'aside', 1)
      redis.call('SADD', LANED, session)
    end
    if observed then
      local log = session_log_key(session)
      redis.call('ZADD', log, number, id)
      redis.call('ZREMRANGEBYRANK', log, 0, -1 - MAX_SESSION_DEPTH)
      redis.call('PEXPIRE', log, LOG_TTL)
      local entries = redis.call('ZCARD', log)
      hold_session(session, LOG_BYTES * (entries - tonumber(redis.call('HGET', session_key(session), 'logged') or 0)))
      redis.call('HSET', session_key(session), 'logged', entries)
      redis.call('PUBLISH', session_key(session), '')
    end
    if paused then wake(session, caller) end
    turn(session, false, lane)
    return { 'created', int(now) }
  end
  if not admit(id, queue, caller, RESERVE, most_running, now) then
    -- Those of a caller that is at its share follow each other one by one: at once, with this.
    if RESERVE ~= '' and ARGV[REST] then
      local task = {}
      for i = REST, #ARGV do task[#task + 1] = #ARGV[i] .. ':' .. ARGV[i] end
      redis.call('HSET', KEYS.job, 'task', table.concat(task))
    end
    return { 'created', int(now), 'held' }
  end
  -- If Redis does not take the commands, they are for the outbox: the record is written by now.
  if ARGV[REST] and run_all(ARGV, REST) then return { 'created', int(now), 'enqueued' } end
  redis.call('ZADD', P .. 'outbox', int(now + tonumber(ARGV.outbox_delay)), id)
end
return { 'created', int(now) }
