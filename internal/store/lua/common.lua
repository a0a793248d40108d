-- Shared by every script: it is put in front of each one.
--
-- All keys carry the hash tag {kaa}, so that on a Redis cluster they live in one
-- slot and a script may touch several of them. Times are milliseconds of Redis's
-- own clock: one clock for all processes.
local P = '{kaa}:'

-- In bytes: what is copied to each process that waits.
local SMALL_RESULT = 32768

local function now_ms()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- Lua would print a millisecond time as 1.7e+12.
local function int(n) return string.format('%d', n) end

local function job_key(id) return P .. 'job:' .. id end
local function index_key(queue, state) return P .. 'jobs:' .. queue .. ':' .. state end
local function runner_jobs_key(runner) return P .. 'runner:' .. runner .. ':jobs' end
local function waiter_key(waiter) return P .. 'waiter:' .. waiter end
local function waiter_jobs_key(waiter) return P .. 'waiter:' .. waiter .. ':jobs' end

local function terminal_state(state)
  return state == 'completed' or state == 'cancelled' or state == 'failed'
end

local function waits(state) return state == 'scheduled' or state == 'queued' end

-- count keeps the number of a caller's jobs that wait; by is 1 or -1. Jobs that
-- were recorded before there were callers count for nobody.
local function count(caller, by)
  if caller and redis.call('HINCRBY', P .. 'waiting', caller, by) <= 0 then
    redis.call('HDEL', P .. 'waiting', caller)
  end
end

-- Fairness: of a caller's jobs on a queue at most WINDOW have a seat, which is a task
-- on asynq's queue or an entry in the outbox; the others are held, oldest first.
-- Jobs that were recorded before there were callers have neither.
local function seats_key(queue, caller) return P .. 'seats:' .. queue .. ':' .. caller end
local function held_key(queue, caller) return P .. 'held:' .. queue .. ':' .. caller end

-- seat gives a job that is ready to run a seat and returns true, or holds it.
local function seat(id, queue, caller, now)
  if not caller then return true end
  local seats, held = seats_key(queue, caller), held_key(queue, caller)
  if redis.call('SISMEMBER', seats, id) == 1 then return true end
  if redis.call('SCARD', seats) < WINDOW and redis.call('EXISTS', held) == 0 then
    redis.call('SADD', seats, id)
    return true
  end
  redis.call('ZADD', held, int(now), id)
  redis.call('SADD', P .. 'holding', queue .. ' ' .. caller)
  return false
end

-- fill gives the seats of a caller to jobs that it has held, once half of them are
-- free: so that what has to be done for it is done for many at a time. It puts them
-- into the outbox and returns how many.
local function fill(queue, caller)
  local seats, held = seats_key(queue, caller), held_key(queue, caller)
  local taken = redis.call('SCARD', seats)
  if taken * 2 > WINDOW then return 0 end
  local ids, now = redis.call('ZRANGE', held, 0, int(WINDOW - taken - 1)), int(now_ms())
  for _, id in ipairs(ids) do
    redis.call('ZREM', held, id)
    redis.call('SADD', seats, id)
    redis.call('ZADD', P .. 'outbox', now, id)
  end
  if redis.call('EXISTS', held) == 0 then redis.call('SREM', P .. 'holding', queue .. ' ' .. caller) end
  return #ids
end

-- unseat takes a job that does not wait any more from its seat, or from where it is
-- held, and returns how many held jobs that brought into the outbox.
local function unseat(id, queue, caller)
  if not caller then return 0 end
  if redis.call('SREM', seats_key(queue, caller), id) == 0 then
    if redis.call('ZREM', held_key(queue, caller), id) == 0 then return 0 end
  end
  if redis.call('SISMEMBER', P .. 'holding', queue .. ' ' .. caller) == 0 then return 0 end
  return fill(queue, caller)
end

-- reindex moves a job from one state's listing to another's. Every move of a state
-- passes here, and each once: so the counts are exact. It returns how many held jobs
-- the move brought into the outbox: somebody has to look there now.
local function reindex(id, queue, from, to)
  redis.call('ZREM', index_key(queue, from), id)
  redis.call('ZADD', index_key(queue, to), 0, id)
  if waits(from) == waits(to) then return 0 end
  local caller = redis.call('HGET', job_key(id), 'caller')
  count(caller, waits(to) and 1 or -1)
  if waits(to) then return 0 end
  return unseat(id, queue, caller)
end

-- missing tells a job that was never known from one whose record has expired.
local function missing(id)
  if redis.call('EXISTS', P .. 'gone:' .. id) == 1 then return { 'gone' } end
  return { 'missing' }
end

-- settle moves a job to a terminal state: the record gets its end and its time
-- to live, a tombstone outlives it, and everybody who waits is told.
local function settle(id, to, result, code, message, tombstone_ms)
  local key = job_key(id)
  local f = redis.call('HMGET', key, 'state', 'queue', 'runner', 'result_ttl', 'notify', 'waiter', 'hook_url', 'files')
  local now, ttl = now_ms(), tonumber(f[4])
  redis.call('HSET', key, 'state', to, 'finished_at', int(now))
  if result ~= '' then redis.call('HSET', key, 'result', result) end
  if code ~= '' then redis.call('HSET', key, 'failure_code', code, 'failure_message', message) end
  redis.call('HDEL', key, 'spec', 'notify', 'cancel', 'waiter')
  if f[7] then
    -- The record is what the webhook tells, so it stays until that is through.
    redis.call('PEXPIRE', key, int(math.max(ttl, HOOK_TTL)))
    redis.call('ZADD', P .. 'hooks', int(now), id)
    redis.call('PUBLISH', P .. 'outbox', 'hooks')
  else
    redis.call('PEXPIRE', key, int(ttl))
  end
  redis.call('SET', P .. 'gone:' .. id, '1', 'PX', int(ttl + tonumber(tombstone_ms)))
  redis.call('ZADD', P .. 'expiry', int(now + ttl), id .. ' ' .. f[2] .. ' ' .. to)
  if f[8] then redis.call('ZADD', P .. 'blobs', int(now + ttl), id) end
  redis.call('ZREM', P .. 'outbox', id)
  if reindex(id, f[2], f[1], to) > 0 then redis.call('PUBLISH', P .. 'outbox', int(now)) end
  if f[3] then redis.call('SREM', runner_jobs_key(f[3]), id) end
  if f[6] then redis.call('SREM', waiter_jobs_key(f[6]), id) end
  if f[5] then
    -- With the result, so that who waits need not ask for it.
    local message = id
    if to == 'completed' and #result <= SMALL_RESULT then message = id .. ' ' .. result end
    for channel in string.gmatch(f[5], '%S+') do redis.call('PUBLISH', channel, message) end
  end
end

-- retry_or_fail ends an attempt whose runner could not finish it: the job goes
-- back to its queue while attempts are left, by way of the outbox.
local function retry_or_fail(id, code, message, tombstone_ms)
  local key = job_key(id)
  local f = redis.call('HMGET', key, 'queue', 'runner', 'attempt', 'max_attempts', 'cancel', 'caller')
  if f[5] then
    settle(id, 'cancelled', '', 'cancelled', 'cancelled while its runner was lost', tombstone_ms)
    return 'cancelled'
  end
  if tonumber(f[3]) >= tonumber(f[4]) then
    settle(id, 'failed', '', code, message, tombstone_ms)
    return 'failed'
  end
  local now = int(now_ms())
  redis.call('HSET', key, 'state', 'queued', 'queued_at', now)
  redis.call('ZADD', P .. 'outbox', now, id)
  redis.call('PUBLISH', P .. 'outbox', now)
  redis.call('SREM', runner_jobs_key(f[2]), id)
  reindex(id, f[1], 'running', 'queued')
  if f[6] then redis.call('SADD', seats_key(f[1], f[6]), id) end -- whether there is a free one or not
  return 'queued'
end
