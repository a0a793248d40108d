-- The functions that scripts share. Each script is preceded by those that it needs. So each
-- function begins and ends at the beginning of a line, or is one line.
--
-- All keys carry the hash tag {kaa}, so that on a Redis cluster they are in one slot and a
-- script may use several of them. Times are milliseconds of Redis's own clock: one clock for all
-- processes.
local P = '{kaa}:'

-- In bytes. Such a result is copied to each process that waits.
local SMALL_RESULT = 32768
-- A larger result is a field of its own; a reader fetches it once it has room for it.
local LARGE_RESULT = 65536

local function now_ms()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- Lua would print a millisecond time as 1.7e+12.
local function int(n) return string.format('%d', n) end

local function job_key(id) return P .. 'job:' .. id end
local function index_key(queue, state) return P .. 'jobs:' .. queue .. ':' .. state end
-- own_queue is the queue name in the listing of one caller. A caller that is a tenant has one for
-- each queue; others have one for executions of sessions, which other callers do not see.
local function own_queue(queue, caller) return queue .. ':of:' .. caller end
local function is_tenant(caller) return caller and string.sub(caller, 1, 1) == '@' end
-- stone_of is the tombstone of a record: one that not all may see has its owner.
local function stone_of(caller, in_session)
  return in_session and 'of:' .. caller or is_tenant(caller) and 'tenant:' .. caller or '1'
end
local function lists_own(queue, caller) return queue == 'sessions' or is_tenant(caller) end
local function runner_jobs_key(runner) return P .. 'runner:' .. runner .. ':jobs' end
local function events_key(id) return P .. 'events:' .. id end
local function calls_key(id) return P .. 'calls:' .. id end
local function waiter_key(waiter) return P .. 'waiter:' .. waiter end
local function waiter_jobs_key(waiter) return P .. 'waiter:' .. waiter .. ':jobs' end

local function terminal_state(state)
  return state == 'completed' or state == 'cancelled' or state == 'failed'
end

local function waits(state) return state == 'scheduled' or state == 'queued' end

-- is_paused: an operator lets no job of the queue begin.
local function is_paused(queue) return redis.call('HEXISTS', P .. 'paused', queue) == 1 end

-- count changes the number of a caller's waiting jobs; by is 1 or -1. Jobs that were recorded
-- before there were callers do not count.
local function count(caller, by)
  if caller and redis.call('HINCRBY', P .. 'waiting', caller, by) <= 0 then
    redis.call('HDEL', P .. 'waiting', caller)
  end
end

-- Bytes: the bytes of a caller's records: jobs before and after their end until they expire, batches, sessions,
-- schedules, keys against repetition, and tombstones. Redis does not report expiry. So records that expire at
-- about the same time share a bucket; its width is a hundredth of the time to live, so that there are
-- few. A record is about RECORD_BYTES without its texts, in all keys that have its id.
local RECORD_BYTES = 1024
-- The room of one that has ended beside that: entries of lists, and the fields of its end.
local ENDED_BYTES = 512
-- The room of an event beside its data, and that of all of them together: Redis allocates a stream in pages.
local EVENT_BYTES, STREAM_BYTES = 64, 4096
-- The same for a tombstone, for the key of an idempotent request, and for an entry in the log of a session.
local STONE_BYTES, REPEAT_BYTES, LOG_BYTES, HOOK_BYTES = 256, 384, 128, 256
-- A session with a volume has notes about its saves, also after its end.
local VOLUME_BYTES, VOLUME_NOTES = 2048, 1024
-- A batch has ten keys.
local BATCH_BYTES = 2048
-- hook_bytes is what the webhook of a record takes.
local function hook_bytes(url) return url and url ~= '' and #url + HOOK_BYTES or 0 end
local function bucket_key(time) return P .. 'bytes:' .. time end

-- The field * is the sum of all callers.
local function hold(caller, bytes)
  if redis.call('HINCRBY', P .. 'bytes', caller, int(bytes)) <= 0 then redis.call('HDEL', P .. 'bytes', caller) end
  redis.call('HINCRBY', P .. 'bytes', '*', int(bytes))
end

-- share_of returns the limit of bytes for a caller that has own bytes. most is its own limit. shared is half of
-- Redis' memory if it shares that with others, '1' if most is that, and else empty. Callers share five
-- eighths of the memory: Redis' allocator takes up to a quarter more
-- than the bytes that are counted, and nothing is recorded beyond seven eighths of the memory in
-- use (hasRoom in memory.go). A caller gets no more than is free then, so the next caller finds some.
local function share_of(own, most, shared)
  if not shared or shared == '' then return most end
  local half = shared == '1' and most or tonumber(shared)
  local others = tonumber(redis.call('HGET', P .. 'bytes', '*') or 0) - own
  return math.max(0, math.min(most, math.floor((half * 2 * 5 / 8 - others) / 2)))
end

-- no_bytes returns the answer for a caller that would exceed its limit with more bytes; most is a text, '0' for no limit.
local function no_bytes(caller, more, most, shared)
  most = tonumber(most)
  if most == 0 then return end
  local held = tonumber(redis.call('HGET', P .. 'bytes', caller) or 0)
  local share = share_of(held, most, shared)
  if held + more > share then return { 'bytes', held, int(share) } end
end

-- due_after is the time of the bucket of a record that ended then and has this time to live.
local function due_after(ended, ttl)
  local width = math.max(1000, math.floor(ttl / 100))
  return int((math.floor((ended + ttl) / width) + 1) * width)
end

-- release_at has bytes that a caller holds released then.
local function release_at(caller, bytes, due)
  -- If they are all that it has in the bucket, the bucket may be new.
  if redis.call('HINCRBY', bucket_key(due), caller, int(bytes)) == bytes then redis.call('ZADD', P .. 'bytes:due', due, due) end
end

-- take_back releases bytes before their time, unless they were released.
local function take_back(caller, bytes, due)
  local bucket = bucket_key(due)
  if tonumber(redis.call('HGET', bucket, caller) or 0) < bytes then return end
  redis.call('HINCRBY', bucket, caller, int(-bytes))
  hold(caller, -bytes)
end

-- hold_until is for a record that has ended: it replaces its bytes by the new ones, which are
-- released soon after it has expired.
local function hold_until(caller, had, has, now, ttl)
  hold(caller, has - had)
  release_at(caller, has, due_after(now, ttl))
end

-- hold_events counts bytes of a job's events, and of the answers to its calls. No more is kept than
-- MAX_EVENTS, of each of the last two attempts.
local function hold_events(id, caller, had, bytes, attempt)
  had = tonumber(had or 0)
  if had == 0 and bytes > 0 then bytes = bytes + STREAM_BYTES end
  local has = math.min(had + bytes, MAX_EVENTS * math.min(2, tonumber(attempt)))
  if has <= had then return end
  redis.call('HSET', job_key(id), 'event_bytes', int(has))
  hold(caller, has - had)
end

-- open_call makes a call answerable. The time to live is for a process of an earlier version, which
-- settles the job and does not know the key.
local function open_call(id, call)
  redis.call('HSET', calls_key(id), call, '')
  redis.call('PEXPIRE', calls_key(id), CALLS_TTL)
  redis.call('HSET', job_key(id), 'calls', '1')
end

-- forget_calls is for the end of an attempt that has made calls. No answer to them counts any more.
local function forget_calls(id)
  redis.call('DEL', calls_key(id))
  redis.call('HDEL', job_key(id), 'calls')
end

-- hold_no_more is for a record that has ended and is deleted before it expires.
local function hold_no_more(caller, has, ended, ttl) take_back(caller, has, due_after(ended, ttl)) end

-- give_back releases the bytes of expired records.
local function give_back(most)
  for _, due in ipairs(redis.call('ZRANGEBYSCORE', P .. 'bytes:due', '-inf', int(now_ms()), 'LIMIT', 0, most)) do
    local bucket = redis.call('HGETALL', bucket_key(due))
    for i = 1, #bucket, 2 do hold(bucket[i], -tonumber(bucket[i + 1])) end
    redis.call('DEL', bucket_key(due))
    redis.call('ZREM', P .. 'bytes:due', due)
  end
  local sum, all = 0, redis.call('HGETALL', P .. 'bytes')
  for i = 1, #all, 2 do
    if all[i] ~= '*' then sum = sum + tonumber(all[i + 1]) end
  end
  -- Records of an older Kaa are not in the sum.
  if sum > 0 then redis.call('HSET', P .. 'bytes', '*', int(sum)) else redis.call('HDEL', P .. 'bytes', '*') end
end

-- Files: the bytes of the contents of a caller's files in the blob store. Each job with files
-- has a key with the bytes of each part, until its blobs are deleted. The counts of callers, and
-- of all, are sums of these.
local function kept_key(id) return P .. 'kept:' .. id end

local function count_files(caller, bytes)
  for _, whose in ipairs({ caller, '*' }) do
    if redis.call('HINCRBY', P .. 'files', whose, int(bytes)) <= 0 then redis.call('HDEL', P .. 'files', whose) end
  end
end

-- no_files returns the answer for a caller that would exceed its limit with more bytes of files. alone: it shares the blob store with
-- no other one.
local function no_files(caller, alone, more)
  if more <= 0 or MAX_FILES + MAX_CALLER_FILES == 0 then return end
  alone = alone or caller == 'anonymous' -- without keys all callers are one
  local own = tonumber(redis.call('HGET', P .. 'files', caller) or 0)
  local all = tonumber(redis.call('HGET', P .. 'files', '*') or 0)
  local most = MAX_CALLER_FILES
  if most == 0 then
    -- No more than is free then. So however many callers take all they can, another finds some.
    most = MAX_FILES - (all - own)
    if not alone then most = math.max(0, math.floor(most / 2)) end
  end
  local none = MAX_FILES > 0 and all + more > MAX_FILES
  if none and (own == 0 or own + more <= most) then return { 'full', 'all', int(all), int(MAX_FILES) } end
  if own + more > most then return { 'full', 'caller', int(own), int(most) } end
end

-- keep_files sets the bytes of one part of a job's files: its inputs, or the files of an
-- attempt.
local function keep_files(id, caller, part, bytes)
  local had = tonumber(redis.call('HGET', kept_key(id), part) or 0)
  redis.call('HSET', kept_key(id), 'caller', caller, part, int(bytes))
  if bytes ~= had then count_files(caller, bytes - had) end
end

-- Usage: what the executions and sessions of a caller took. The end of each is an entry of a log: caller, day (UTC's, by
-- its number since 1970), and the amounts in the order of FIGURES in tally.lua. So it costs one command, and tally
-- adds up many at a time.
local DAY = 86400000
local function log_usage(caller, time, amounts)
  if USAGE_TTL > 0 then redis.call('RPUSH', P .. 'usage:log', caller .. ' ' .. math.floor(time / DAY) .. ' ' .. amounts) end
end

-- use_job counts a job at its end. One that never began took nothing of a runner. spent has the microseconds that it
-- ran, those of processors, and KiB of memory times milliseconds.
local function use_job(id, caller, queue, attempt, has_files, came, left, spent, now)
  if has_files then
    local kept = redis.call('HMGET', kept_key(id), 'in', attempt)
    came, left = came + tonumber(kept[1] or 0), left + tonumber(kept[2] or 0)
  end
  local time = '0 0 0 0'
  if queue ~= 'operations' and attempt ~= '0' then time = '1 ' .. (spent or '0 0 0') end
  log_usage(caller, now, time .. ' ' .. int(came) .. ' ' .. int(left))
end

-- use_session counts a session at its end: its time on each day on which it lived, a year at most.
local function use_session(caller, from, to)
  log_usage(caller, to, '0 0 0 0 0 0 1')
  from = math.max(from, to - 366 * DAY)
  while from < to do
    local till = math.min(to, (math.floor(from / DAY) + 1) * DAY)
    log_usage(caller, from, '0 0 0 0 0 0 0 ' .. int(till - from))
    from = till
  end
end

-- Shares: where several callers use the runners, none of them may have all slots for its
-- executions, so another one's job finds a slot. A job says in its field reserve how many slots its
-- caller leaves to others; one without it has no such bound. Its field most_running, if its API key has
-- that limit, is how many jobs of the caller may run in all, on whichever runners. Running jobs are
-- looked up and not counted:
-- running:<caller> has each job with the runner that has claimed it, and only those of runners
-- count that take jobs now, so a runner that is lost or shut down releases its slots.
local FLEET_TTL = 2000
local function running_key(caller) return P .. 'running:' .. caller end
local function fleet_key(queue) return P .. 'fleet:' .. queue end

-- slots_of returns the number of slots of all runners that take jobs of a queue. It is in a hash
-- with the slots of each, which is made from the registry when it has expired.
local function slots_of(queue)
  local key = fleet_key(queue)
  local slots = tonumber(redis.call('HGET', key, ''))
  if not slots then
    slots = 0
    for _, runner in ipairs(redis.call('SMEMBERS', P .. 'runners')) do
      local text = redis.call('GET', P .. 'runner:' .. runner)
      local info = text and cjson.decode(text)
      if info and not info.draining and not info.sick and type(info.queues) == 'table' then
        for _, name in ipairs(info.queues) do
          if name == queue then
            redis.call('HSET', key, runner, int(info.concurrency))
            slots = slots + info.concurrency
          end
        end
      end
    end
    redis.call('HSET', key, '', int(slots))
    redis.call('PEXPIRE', key, FLEET_TTL)
  end
  return slots
end

-- share_left returns how many more jobs of a queue a caller may execute than it does. It does not
-- count further than to wanted.
local function share_left(queue, caller, reserve, most_running, wanted)
  if most_running then wanted = math.min(wanted, math.max(0, tonumber(most_running) - redis.call('HLEN', running_key(caller)))) end
  if not reserve or reserve == '' then return wanted end
  local key, slots = fleet_key(queue), slots_of(queue)
  if slots == 0 then return wanted end -- no runner takes jobs
  local most = math.max(1, slots - (tonumber(reserve) or math.max(1, math.floor(slots / 8))))
  if redis.call('HLEN', running_key(caller)) + wanted <= most then return wanted end
  local running, takes = 0, {}
  for _, runner in ipairs(redis.call('HVALS', running_key(caller))) do
    if takes[runner] == nil then takes[runner] = redis.call('HEXISTS', key, runner) == 1 end
    if takes[runner] then running = running + 1 end
  end
  return math.min(wanted, most - running)
end

-- run_all runs commands that stand in a list, each after its length, and returns whether Redis
-- took them.
local function run_all(list, at)
  while list[at] do
    local last = at + tonumber(list[at])
    local answer = redis.pcall(unpack(list, at + 1, last))
    if type(answer) == 'table' and answer.err then return false end
    at = last + 1
  end
  return true
end

-- Fairness: of a caller's jobs on a queue at most WINDOW are admitted, and no more than its
-- share leaves. An admitted job has a task on asynq's queue or an entry in the outbox. The
-- others are held, oldest first. Jobs that were recorded before there were callers are neither.
local function window_key(queue, caller) return P .. 'seats:' .. queue .. ':' .. caller end
local function held_key(queue, caller) return P .. 'held:' .. queue .. ':' .. caller end

-- admit admits a job that is ready to run and returns true, or holds it.
local function admit(id, queue, caller, reserve, most_running, now)
  if not caller then return true end
  local window, held = window_key(queue, caller), held_key(queue, caller)
  if redis.call('SADD', window, id) == 0 then return true end
  local taken = redis.call('SCARD', window)
  if taken <= WINDOW and redis.call('EXISTS', held) == 0 and share_left(queue, caller, reserve, most_running, taken) == taken then return true end
  redis.call('SREM', window, id)
  redis.call('ZADD', held, int(now), id)
  redis.call('SADD', P .. 'holding', queue .. ' ' .. caller)
  return false
end

-- fill admits held jobs of a caller once half of its window is free, so that the work is done
-- for many at a time. It enqueues those whose
-- task was kept with them, puts the others into the outbox and returns their number.
local function fill(queue, caller)
  local window, held = window_key(queue, caller), held_key(queue, caller)
  local taken = redis.call('SCARD', window)
  if taken * 2 > WINDOW then return 0 end
  local room, first = WINDOW - taken, redis.call('ZRANGE', held, 0, 0)[1]
  if first then
    local f = redis.call('HMGET', job_key(first), 'reserve', 'most_running')
    room = share_left(queue, caller, f[1], f[2], WINDOW) - taken
  end
  if room < 1 then return 0 end
  local now, due = int(now_ms()), 0
  for _, id in ipairs(redis.call('ZRANGE', held, 0, int(room - 1))) do
    redis.call('ZREM', held, id)
    redis.call('SADD', window, id)
    local task = redis.call('HGET', job_key(id), 'task')
    local commands, at = {}, 1
    while task and at <= #task do
      local colon = string.find(task, ':', at, true)
      local last = colon + tonumber(string.sub(task, at, colon - 1))
      commands[#commands + 1] = string.sub(task, colon + 1, last)
      at = last + 1
    end
    if task then redis.call('HDEL', job_key(id), 'task') end
    if not task or not run_all(commands, 1) then
      redis.call('ZADD', P .. 'outbox', now, id)
      due = due + 1
    end
  end
  if redis.call('EXISTS', held) == 0 then redis.call('SREM', P .. 'holding', queue .. ' ' .. caller) end
  return due
end

-- release takes a job that does not wait any more out of the window or the held jobs. It
-- returns the number of held jobs that this brought into the outbox.
local function release(id, queue, caller)
  if not caller then return 0 end
  if redis.call('SREM', window_key(queue, caller), id) == 0 then
    if redis.call('ZREM', held_key(queue, caller), id) == 0 then return 0 end
  end
  if redis.call('SISMEMBER', P .. 'holding', queue .. ' ' .. caller) == 0 then return 0 end
  return fill(queue, caller)
end

-- Batches. The id of a batch's job ends with its number, from 1; that of the batch with zeros. Both
-- are UUIDs of version 8, which no other id is.
-- ends has one byte for each index: a zero byte until the job has ended, then how: a status by its first
-- letter (exit: x), c(ancelled), f(ailed), r(efused line); without a record: u(nfed, cancelled), l(ost).
-- order has the indexes in the order in which they ended, three bytes each.
local BATCHES_OPEN = P .. 'batches:open'
local BATCH_STATUS = { ok = 'o', error = 'e', interrupted = 'i', exit = 'x' }
local BATCH_STEP = 256
local function batch_key(id) return P .. 'batch:' .. id end
local function chunk_key(batch, first) return batch_key(batch) .. ':chunk:' .. first end
local function is_of_batch(id) return string.sub(id, 15, 15) == '8' end

local function batch_of(id)
  if not is_of_batch(id) then return nil end
  local number = tonumber(string.sub(id, 31), 16)
  if not number or number == 0 then return nil end
  return string.sub(id, 1, 30) .. '000000', number - 1
end

local function packed(index)
  return string.char(math.floor(index / 65536), math.floor(index / 256) % 256, index % 256)
end

-- batch_has_ended says whether the job of an index has ended.
local function batch_has_ended(key, index)
  local mark = redis.call('GETRANGE', key .. ':ends', index, index)
  return mark ~= '' and mark ~= '\0'
end

-- Jobs that are to run after a batch are scheduled for no time. They are in a set of the batch, and in the outbox once it
-- has ended.
local BATCHES_AWAITED, MAX_AWAITING = P .. 'batches:awaited', 1000
local function awaiting_key(batch) return batch_key(batch) .. ':after' end

-- batch_release makes the jobs due that wait for the end of a batch.
local function batch_release(batch, now)
  local ids = redis.call('SMEMBERS', awaiting_key(batch))
  for _, id in ipairs(ids) do
    if redis.call('HGET', job_key(id), 'state') == 'scheduled' then
      redis.call('HSET', job_key(id), 'scheduled_at', int(now))
      redis.call('ZADD', P .. 'outbox', int(now), id)
    end
  end
  redis.call('DEL', awaiting_key(batch))
  redis.call('SREM', BATCHES_AWAITED, batch)
  if #ids > 0 then redis.call('PUBLISH', P .. 'outbox', int(now)) end
end

-- Webhooks of batches. Each message is an entry of BATCH_HOOKS, the batch and the percent of its jobs that have ended, by when it is
-- due, and two fields of the batch: hook:<percent> has the number of attempts, hook_at:<percent> the time of the crossing.
local BATCH_HOOKS = P .. 'batches:hooks'

-- batch_hook makes a message of a batch due.
local function batch_hook(batch, key, percent, now)
  redis.call('HSET', key, 'hook:' .. percent, '0', 'hook_at:' .. percent, int(now))
  redis.call('HINCRBY', key, 'hook_pending', 1)
  redis.call('ZADD', BATCH_HOOKS, int(now), batch .. ' ' .. percent)
  redis.call('PUBLISH', P .. 'outbox', 'hooks')
end

-- batch_hook_bytes is what the webhook of a batch takes, with the messages that may wait.
local function batch_hook_bytes(url, percent)
  percent = tonumber(percent) or 0
  return hook_bytes(url) + (percent > 0 and HOOK_BYTES * math.floor(100 / percent) or 0)
end

-- Archives of batches. A batch that is to have one is an entry of BATCH_ARCHIVES from its beginning on, by when it is looked at, so
-- that a process of an older Kaa may end it. The field archive is waiting, then written.
local BATCH_ARCHIVES, ARCHIVE_BYTES = P .. 'batches:archives', 512

-- batch_over ends a batch whose jobs have all ended.
local function batch_over(batch, key, now, tombstone_ms)
  local f = redis.call('HMGET', key, 'state', 'failure_code', 'ttl', 'caller', 'held', 'jobs', 'keep', 'hook_url', 'hook_percent', 'refused_bytes', 'name', 'rerun_of', 'archive')
  local to = f[2] and 'failed' or f[1] == 'cancelling' and 'cancelled' or 'completed'
  local ttl, caller = tonumber(f[3]), f[4]
  redis.call('HSET', key, 'state', to, 'finished_at', int(now))
  redis.call('HDEL', key, 'writer', 'defaults')
  -- The record stays, what was refused, and four bytes for each job; and the lines, if they are kept.
  local stays = f[7] and tonumber(f[5]) or BATCH_BYTES + 4 * tonumber(f[6]) + tonumber(f[10] or 0) + #(f[11] or '') + #(f[12] or '') + (f[13] and ARCHIVE_BYTES or 0)
  -- Messages are made from the record, so the record stays until they are delivered.
  local life = f[8] and math.max(ttl, HOOK_TTL) or ttl
  local stone, due = STONE_BYTES + (f[8] and BATCH_BYTES + batch_hook_bytes(f[8], f[9]) or 0), due_after(now, life + tonumber(tombstone_ms))
  hold_until(caller, tonumber(f[5]) - stone, stays, now, ttl)
  release_at(caller, stone, due)
  redis.call('HSET', key, 'held', stays, 'stone_bytes', stone, 'stone_due', due)
  redis.call('SREM', BATCHES_OPEN, batch)
  redis.call('SREM', BATCHES_OPEN .. ':of:' .. caller, batch)
  if f[7] then
    for _, first in ipairs(redis.call('ZRANGE', key .. ':chunks', 0, -1)) do redis.call('PEXPIRE', chunk_key(batch, first), int(ttl)) end
    for _, part in ipairs({ ':chunks', ':code' }) do redis.call('PEXPIRE', key .. part, int(ttl)) end
  else
    redis.call('DEL', key .. ':chunks', key .. ':code')
  end
  redis.call('DEL', key .. ':writer')
  for _, part in ipairs({ ':ends', ':order', ':refused' }) do redis.call('PEXPIRE', key .. part, int(ttl)) end
  if f[8] then batch_hook(batch, key, 100, now) end
  if f[13] then
    redis.call('ZADD', BATCH_ARCHIVES, int(now), batch)
    redis.call('PUBLISH', P .. 'outbox', 'archives')
  end
  redis.call('PEXPIRE', key, int(life))
  redis.call('SET', P .. 'gone:' .. batch, is_tenant(caller) and 'tenant:' .. caller or '1', 'PX', int(life + tonumber(tombstone_ms)))
  redis.call('ZADD', P .. 'expiry', int(now + ttl), batch .. ' batches all')
  if is_tenant(caller) then redis.call('ZADD', P .. 'expiry', int(now + ttl), batch .. ' ' .. own_queue('batches', caller) .. ' all') end
  batch_release(batch, now)
  redis.call('PUBLISH', key, to)
end

-- batch_count counts jobs of a batch that have ended. to is their state.
local function batch_count(batch, key, to, by, now, tombstone_ms)
  redis.call('HINCRBY', key, to, by)
  local ended = redis.call('HINCRBY', key, 'ended', by)
  local f = redis.call('HMGET', key, 'total', 'hook_percent', 'hook_step', 'state')
  local total = tonumber(f[1])
  if total and ended >= total then
    batch_over(batch, key, now, tombstone_ms)
    return
  end
  if ended % BATCH_STEP < by then
    redis.call('PUBLISH', P .. 'outbox', 'batches') -- there may be room for more of its jobs
  end
  if total and f[2] and f[4] == 'running' then
    local percent = math.floor(ended * 100 / total)
    percent = percent - percent % tonumber(f[2])
    if percent > tonumber(f[3] or 0) then
      redis.call('HSET', key, 'hook_step', percent)
      batch_hook(batch, key, percent, now)
    end
  end
end

-- batch_settled is for a job that has ended. It counts once.
local function batch_settled(id, to, result, now, tombstone_ms)
  local batch, index = batch_of(id)
  local key = batch and batch_key(batch)
  if not batch or redis.call('HEXISTS', key, 'caller') == 0 or batch_has_ended(key, index) then return end
  local status = to == 'completed' and string.match(result, '^{"status":"(%a+)"')
  redis.call('SETRANGE', key .. ':ends', index, BATCH_STATUS[status] or to == 'completed' and 'o' or string.sub(to, 1, 1))
  redis.call('APPEND', key .. ':order', packed(index))
  if status then redis.call('HINCRBY', key, 'status:' .. status, 1) end
  batch_count(batch, key, to, 1, now, tombstone_ms)
end

-- batch_moved counts the running jobs of a batch.
local function batch_moved(id, from, to)
  if from ~= 'running' and to ~= 'running' then return end
  local batch = batch_of(id)
  if batch and redis.call('HEXISTS', batch_key(batch), 'caller') == 1 then
    redis.call('HINCRBY', batch_key(batch), 'running', to == 'running' and 1 or -1)
  end
end

-- batch_drop deletes all of a batch but its jobs' records.
local function batch_drop(batch, key)
  local f = redis.call('HMGET', key, 'caller', 'held', 'finished_at', 'ttl', 'idempotency', 'stone_due', 'repeat_due', 'stone_bytes')
  local caller = f[1]
  if f[6] then take_back(caller, tonumber(f[8]), f[6]) end
  if f[3] then hold_no_more(caller, tonumber(f[2]), tonumber(f[3]), tonumber(f[4])) else hold(caller, -tonumber(f[2])) end
  for _, first in ipairs(redis.call('ZRANGE', key .. ':chunks', 0, -1)) do redis.call('UNLINK', chunk_key(batch, first)) end
  redis.call('UNLINK', key, key .. ':chunks', key .. ':code', key .. ':ends', key .. ':order', key .. ':refused', key .. ':writer', P .. 'gone:' .. batch)
  redis.call('SREM', BATCHES_OPEN, batch)
  redis.call('SREM', BATCHES_OPEN .. ':of:' .. caller, batch)
  redis.call('ZREM', BATCH_ARCHIVES, batch)
  if redis.call('EXISTS', kept_key(batch)) == 1 then redis.call('ZADD', P .. 'blobs', int(now_ms()), batch) end
  redis.call('ZREM', index_key('batches', 'all'), batch)
  redis.call('ZREM', P .. 'expiry', batch .. ' batches all')
  if is_tenant(caller) then
    redis.call('ZREM', index_key(own_queue('batches', caller), 'all'), batch)
    redis.call('ZREM', P .. 'expiry', batch .. ' ' .. own_queue('batches', caller) .. ' all')
  end
  if f[5] and redis.call('GET', f[5]) == 'batch ' .. batch then
    redis.call('DEL', f[5])
    if f[7] then take_back(caller, REPEAT_BYTES, f[7]) end
  end
  redis.call('PUBLISH', key, 'gone')
end

-- reindex moves a job from one state's listing to another's. Every move of a state passes
-- here, and each once, so the counts are exact. It returns the number of held jobs that the
-- move brought into the outbox: a maintainer has to read the outbox now. The caller, if it is
-- not given, is the record's.
local function reindex(id, queue, from, to, caller)
  if is_of_batch(id) then batch_moved(id, from, to) end
  redis.call('ZREM', index_key(queue, from), id)
  redis.call('ZADD', index_key(queue, to), 0, id)
  caller = caller or redis.call('HGET', job_key(id), 'caller')
  if lists_own(queue, caller) then
    redis.call('ZREM', index_key(own_queue(queue, caller), from), id)
    redis.call('ZADD', index_key(own_queue(queue, caller), to), 0, id)
  end
  local due = 0
  if from == 'running' then
    if caller and redis.call('HDEL', running_key(caller), id) == 1 and redis.call('EXISTS', P .. 'holding') == 1 then
      -- There is a slot for one that is held, on whichever queue.
      for _, name in ipairs(redis.call('SMEMBERS', P .. 'queues')) do
        if redis.call('SISMEMBER', P .. 'holding', name .. ' ' .. caller) == 1 then due = due + fill(name, caller) end
      end
    end
  end
  if waits(from) == waits(to) then return due end
  caller = caller or redis.call('HGET', job_key(id), 'caller')
  count(caller, waits(to) and 1 or -1)
  if waits(to) then return due end
  return release(id, queue, caller)
end

-- Sessions. The executions of a session are in lists of its own, in the order of acceptance, and nowhere else. Each list is
-- a lane. The runner claims the first of a lane once no other one of the lane runs. It is notified when there is one to
-- claim. The default lane is '': its list is the session's, and the record of the session has its current execution. Every
-- other lane has a list of its own, and a field in the hash of the session's lanes: its current job, or ''. A lane is in that hash as long as
-- it has something that waits or runs. A job that runs beside all others has a lane of its own: * and its id.
local SESSIONS_DUE, SESSIONS_BUSY, SESSIONS_PAUSED = P .. 'sessions', P .. 'sessions:busy', P .. 'sessions:paused'
local function session_key(id) return P .. 'session:' .. id end
local function session_jobs_key(id) return P .. 'session:' .. id .. ':jobs' end
local function session_lanes_key(id) return P .. 'session:' .. id .. ':lanes' end
local function lane_jobs_key(id, lane) return session_jobs_key(id) .. (lane == '' and '' or ':' .. lane) end
local function ready_member(id, lane) return lane == '' and id or id .. ' ' .. lane end
local function session_log_key(id) return P .. 'session:' .. id .. ':log' end
local function runner_sessions_key(runner) return P .. 'runner:' .. runner .. ':sessions' end
-- open_to_sessions returns the registration of a runner that may get further sessions: nil if it has none, or drains. An API's list of runners may be
-- older than the drain.
local function open_to_sessions(runner)
  local text = redis.call('GET', P .. 'runner:' .. runner)
  return text and not string.find(text, '"draining":true', 1, true) and text
end

local function runner_ready_key(runner) return P .. 'runner:' .. runner .. ':ready' end
local function caller_sessions_key(caller) return P .. 'sessions:of:' .. caller end
local function caller_paused_key(caller) return P .. 'sessions:paused:of:' .. caller end
local function caller_names_key(caller) return P .. 'sessions:names:' .. caller end

-- too_many returns the answer for a caller that would have more sessions than it may, by its key (0 is no
-- limit of the key) or as every caller.
local function too_many(caller, more, of_key)
  local own = redis.call('ZCARD', caller_sessions_key(caller))
  if of_key > 0 and own + more > of_key then return { 'full', 'caller', of_key, own, 'key' } end
  if MAX_CALLER_SESSIONS > 0 and own + more > MAX_CALLER_SESSIONS then return { 'full', 'caller', MAX_CALLER_SESSIONS, own } end
end

-- session_takes returns the bytes of memory and of disk that the live sessions of a caller may take, by their limits. Forks share the memory
-- of a sandbox, which has the id of its first session. A session of an older Kaa counts nothing, as its record does not say.
local function session_takes(caller)
  local memory, disk, counted = 0, 0, {}
  for _, id in ipairs(redis.call('ZRANGE', caller_sessions_key(caller), 0, -1)) do
    local f = redis.call('HMGET', session_key(id), 'memory', 'disk', 'sandbox')
    local sandbox = f[3] or id
    if not counted[sandbox] then memory = memory + tonumber(f[1] or 0) end
    counted[sandbox], disk = true, disk + tonumber(f[2] or 0)
  end
  return memory, disk
end

-- no_session_room returns the answer for a caller whose sessions could take more memory or disk than they may, by its key (0 is no
-- limit of the key) or as those of every caller.
local function no_session_room(caller, memory, disk, own_memory, own_disk)
  own_memory, own_disk = tonumber(own_memory), tonumber(own_disk)
  if MAX_SESSION_MEMORY + MAX_SESSION_DISK + own_memory + own_disk == 0 then return end
  local has_memory, has_disk = session_takes(caller)
  local function over(what, has, more, most, own)
    local of_key = own > 0 and (most == 0 or own < most)
    if of_key then most = own end
    if most > 0 and more > 0 and has + more > most then
      return { 'takes', what, int(has), int(most), int(more), of_key and 'key' or '' }
    end
  end
  return over('memory', has_memory, memory, MAX_SESSION_MEMORY, own_memory) or over('disk', has_disk, disk, MAX_SESSION_DISK, own_disk)
end

-- session_bytes is what the record of a live session with these texts takes.
local function session_bytes(...)
  local bytes = RECORD_BYTES
  for _, text in ipairs({ ... }) do bytes = bytes + #text end
  return bytes
end

-- hold_session counts bytes of a live session until its end. A process of an older Kaa, which may end it, does not release
-- them: they are released anyway when it cannot live any more.
local function hold_session(id, bytes)
  local key = session_key(id)
  local f = redis.call('HMGET', key, 'caller', 'held_due', 'created_at', 'max_age')
  local due = f[2] or due_after(tonumber(f[3]), tonumber(f[4]))
  hold(f[1], bytes)
  release_at(f[1], bytes, due)
  redis.call('HINCRBY', key, 'held', bytes)
  redis.call('HSET', key, 'held_due', due)
end

-- hold_changed_session counts more bytes of a live session, of which the age may have changed at which it has to end.
local function hold_changed_session(id, more)
  local key = session_key(id)
  local f = redis.call('HMGET', key, 'caller', 'held', 'held_due')
  if not f[2] then return end -- it is of an older Kaa
  take_back(f[1], tonumber(f[2]), f[3])
  redis.call('HDEL', key, 'held', 'held_due')
  hold_session(id, tonumber(f[2]) + more)
end

-- hold_ended_session counts a session that ends for as long as its record stays.
local function hold_ended_session(key, caller, now, tombstone_ms)
  local f = redis.call('HMGET', key, 'held', 'held_due')
  if f[1] then take_back(caller, tonumber(f[1]), f[2]) end
  local notes = redis.call('HEXISTS', key, 'volume') * VOLUME_NOTES
  hold_until(caller, 0, RECORD_BYTES + notes + redis.call('HSTRLEN', key, 'metadata'), now, tombstone_ms)
end

-- over_share says whether a caller that shares runners with others gets a session although it
-- has more of them there than are free then, if it gets so many more, one after the other.
local function over_share(caller, more, runners, free)
  if redis.call('ZCARD', caller_sessions_key(caller)) + more - 1 <= free - more then return false end
  local own = 0
  for _, id in ipairs(redis.call('ZRANGE', caller_sessions_key(caller), 0, -1)) do
    if runners[redis.call('HGET', session_key(id), 'runner')] then own = own + 1 end
  end
  return own + more - 1 > free - more, own
end

-- Volumes. The key of one is made of a digest, because names may have colons.
local function volume_key(caller, name) return P .. 'volume:' .. redis.sha1hex(caller .. '\n' .. name) end
local function caller_volumes_key(caller) return P .. 'volumes:of:' .. caller end

-- volume_user returns the session that uses a volume, and whether it has ended and its runner may still save the files. The
-- volume is free once the runner has said so or has died, or after a time.
local function volume_user(key, now)
  local f = redis.call('HMGET', key, 'session', 'runner')
  if not f[1] then return end
  local s = redis.call('HMGET', session_key(f[1]), 'state', 'ended_at')
  if s[1] and s[1] ~= 'ended' then return f[1], false end
  if s[1] and f[2] and redis.call('EXISTS', P .. 'runner:' .. f[2]) == 1 and now < tonumber(s[2]) + VOLUME_SAVING then return f[1], true end
end

-- volume_refusal is the answer for a caller that wants a volume which a session uses.
local function volume_refusal(key, now)
  local user, saving = volume_user(key, now)
  if user then return { 'in_use', user, saving and 'saving' or 'lives' } end
end

-- keep_volume has a volume deleted if it is not used for long from now on.
local function keep_volume(key, now)
  redis.call('HSET', key, 'used_at', int(now))
  if VOLUME_TTL > 0 then redis.call('ZADD', P .. 'volumes', int(now + VOLUME_TTL), key) end
end

-- snapshot_owner stands for a snapshot where others stand for the jobs to which blobs belong.
local function snapshot_owner(id) return 'snapshot:' .. id end

-- drop_snapshot has the cleaner delete the blob of a snapshot from then on.
local function drop_snapshot(id, now) redis.call('ZADD', P .. 'blobs', int(now), snapshot_owner(id)) end

local function drop_volume(key, now)
  local f = redis.call('HMGET', key, 'caller', 'name', 'snapshot', 'held')
  if f[3] then drop_snapshot(f[3], now) end
  if f[1] then
    redis.call('ZREM', caller_volumes_key(f[1]), f[2])
    hold(f[1], -tonumber(f[4]))
  end
  redis.call('ZREM', P .. 'volumes', key)
  redis.call('DEL', key)
end

-- drop_unused deletes volumes that were not used for long.
local function drop_unused(most)
  local now = now_ms()
  for _, key in ipairs(redis.call('ZRANGEBYSCORE', P .. 'volumes', '-inf', int(now), 'LIMIT', 0, most)) do
    if volume_user(key, now) then keep_volume(key, now) else drop_volume(key, now) end
  end
end

-- take_volume makes a session the user of a volume, which it makes if there is none.
local function take_volume(key, caller, name, session, now)
  if redis.call('EXISTS', key) == 0 then
    local bytes = VOLUME_BYTES + 2 * #name
    redis.call('HSET', key, 'caller', caller, 'name', name, 'created_at', int(now), 'held', bytes)
    redis.call('ZADD', caller_volumes_key(caller), 0, name)
    hold(caller, bytes)
  end
  redis.call('HSET', key, 'session', session)
  redis.call('HDEL', key, 'runner')
  keep_volume(key, now)
end

-- has_volume reports whether the volume is that of a session and its runner.
local function has_volume(key, session, runner)
  local f = redis.call('HMGET', key, 'session', 'runner')
  return f[1] == session and f[2] == runner
end

-- ended_answer is the answer to a caller of a session that has ended.
local function ended_answer(key)
  local f = redis.call('HMGET', key, 'reason', 'message', 'volume')
  return { 'session_ended', f[1], f[2], f[3] or '' }
end

-- latest_end returns when a session ends at the latest: when it is too old, or at the time that was set for its end.
local function latest_end(created_at, max_age, ends_at)
  local latest = tonumber(created_at) + tonumber(max_age)
  if ends_at then latest = math.min(latest, tonumber(ends_at)) end
  return latest
end

-- The pause at the end: a session with the field at_end, the arguments of that pause, is paused when the time comes that was set for its
-- end. Its runner makes the operation (ending), again after ENDING_AGAIN if that fails. After ENDING_PATIENCE the session ends. end_span is how far ahead
-- the end was when it was set last: so far it is ahead after a resume.
local ENDING_AGAIN, ENDING_PATIENCE = 5000, 30000
local function runner_ending_key(runner) return P .. 'runner:' .. runner .. ':ending' end
local function forget_ending(key) redis.call('HDEL', key, 'ending', 'ending_next') end

-- pause_at_end has a session paused whose end has come. It returns false if the session is to end.
local function pause_at_end(id, now)
  local key = session_key(id)
  local f = redis.call('HMGET', key, 'at_end', 'state', 'runner', 'created_at', 'max_age', 'pause_until', 'ending')
  if not f[1] then return false end
  local latest = latest_end(f[4], f[5])
  if f[2] == 'paused' then -- the end was set during the pause
    redis.call('HDEL', key, 'ends_at')
    redis.call('ZADD', SESSIONS_DUE, int(math.min(latest, tonumber(f[6]))), id)
    return true
  end
  if f[7] and now - tonumber(f[7]) > ENDING_PATIENCE then return false end
  redis.call('HSETNX', key, 'ending', int(now))
  redis.call('SADD', runner_ending_key(f[3]), id)
  redis.call('ZADD', SESSIONS_DUE, int(math.min(latest, now + ENDING_AGAIN)), id)
  return true
end

-- ending returns the sessions of a runner for which the operation is to be made now: the session, its caller and the arguments, of each. Executions of their own
-- interpreters are interrupted.
local function ending(runner, now)
  local all = {}
  for _, id in ipairs(redis.call('SMEMBERS', runner_ending_key(runner))) do
    local key = session_key(id)
    local f = redis.call('HMGET', key, 'state', 'caller', 'at_end', 'ending_next', 'current', 'runner', 'ending')
    redis.call('SREM', runner_ending_key(runner), id)
    if (f[1] == 'idle' or f[1] == 'busy') and f[6] == runner and f[7] and now >= tonumber(f[4] or 0) then
      redis.call('HSET', key, 'ending_next', int(now + ENDING_AGAIN))
      if f[5] and redis.call('HGET', job_key(f[5]), 'queue') == 'sessions' and redis.call('HGET', job_key(f[5]), 'state') == 'running' then
        redis.call('HSET', job_key(f[5]), 'cancel', '1')
        tell_cancelled(runner, f[5])
      end
      for _, text in ipairs({ id, f[2], f[3] }) do table.insert(all, text) end
    end
  end
  return all
end

-- wake ends the pause of a session, because of a job or a message to a command.
local function wake(id, caller)
  local now = now_ms()
  redis.call('HDEL', session_key(id), 'paused_at', 'pause_until', 'resumes')
  redis.call('HSET', session_key(id), 'resumed_at', int(now))
  local f = redis.call('HMGET', session_key(id), 'state', 'end_span', 'created_at', 'max_age')
  if f[2] and f[1] ~= 'ended' then redis.call('HSET', session_key(id), 'ends_at', int(latest_end(f[3], f[4], now + tonumber(f[2])))) end
  redis.call('SREM', SESSIONS_PAUSED, id)
  redis.call('SREM', caller_paused_key(caller), id)
end

-- turn updates a session's state after a change of a lane. With quiet, its runner is not notified, because it calls by
-- itself. aside, in the record, is how many jobs wait in other lanes than the default one; it is absent as long as the session had no such lane.
local function turn(id, quiet, lane)
  local key = session_key(id)
  local f = redis.call('HMGET', key, 'state', 'runner', 'current', 'created_at', 'max_age', 'idle_timeout', 'aside', 'ends_at', 'pause_until')
  if not f[1] or f[1] == 'ended' then return end
  local old = latest_end(f[4], f[5], f[8])
  local waits = not f[3] and redis.call('EXISTS', session_jobs_key(id)) == 1
  -- Jobs of other lanes may stand still in a paused session.
  if not f[3] and not waits and (f[9] or not (f[7] and redis.call('EXISTS', session_lanes_key(id)) == 1)) then
    local state = f[9] and 'paused' or 'idle'
    if f[1] == state then return end
    local now = now_ms()
    redis.call('HSET', key, 'state', state, 'last_used', int(now))
    if state == 'paused' then redis.call('SADD', SESSIONS_PAUSED, id) end
    redis.call('SREM', SESSIONS_BUSY, id)
    redis.call('SREM', runner_ready_key(f[2]), id)
    redis.call('ZADD', SESSIONS_DUE, int(math.min(old, f[9] and tonumber(f[9]) or now + tonumber(f[6]))), id)
    return
  end
  if not f[3] and not waits then redis.call('SREM', runner_ready_key(f[2]), id) end
  if f[1] ~= 'busy' then
    redis.call('HSET', key, 'state', 'busy')
    redis.call('SADD', SESSIONS_BUSY, id)
    redis.call('ZADD', SESSIONS_DUE, int(old), id) -- what is busy is not idle
  end
  if quiet then return end
  if lane ~= '' then waits = redis.call('HGET', session_lanes_key(id), lane) == '' and redis.call('EXISTS', lane_jobs_key(id, lane)) == 1 end
  if waits and redis.call('SADD', runner_ready_key(f[2]), ready_member(id, lane)) == 1 then tell_ready(f[2], ready_member(id, lane)) end
end

-- aside_by changes the number of a session's jobs that wait in other lanes than the default one.
local function aside_by(session, by)
  if redis.call('HEXISTS', session_key(session), 'aside') == 1 then redis.call('HINCRBY', session_key(session), 'aside', by) end
end

-- LANED are the sessions with other lanes than the default one.
local LANED = P .. 'sessions:laned'

-- drop_lane takes a lane that has nothing any more out of its session. It reports whether it did.
local function drop_lane(session, lane)
  local lanes = session_lanes_key(session)
  if redis.call('HGET', lanes, lane) ~= '' or redis.call('EXISTS', lane_jobs_key(session, lane)) == 1 then return false end
  redis.call('HDEL', lanes, lane)
  if redis.call('EXISTS', lanes) == 0 then redis.call('SREM', LANED, session) end
  return true
end

-- leave_session takes a job that has ended out of its session.
local function leave_session(session, id, quiet, lane)
  if lane == '' then
    redis.call('ZREM', session_jobs_key(session), id)
    if redis.call('HGET', session_key(session), 'current') == id then redis.call('HDEL', session_key(session), 'current') end
  else
    local waited = redis.call('ZREM', lane_jobs_key(session, lane), id) == 1
    if waited then aside_by(session, -1) end
    if redis.call('HGET', session_lanes_key(session), lane) == id then redis.call('HSET', session_lanes_key(session), lane, '') end
    if drop_lane(session, lane) and waited then
      redis.call('SREM', runner_ready_key(redis.call('HGET', session_key(session), 'runner') or ''), ready_member(session, lane))
    end
  end
  turn(session, quiet, lane)
end

-- claim_answer is the answer to a runner about the next execution of a session.
local function claim_answer(session, id, attached)
  local f = redis.call('HMGET', job_key(id), 'attempt', 'queued_at', 'started_at', 'queue', 'spec', 'events')
  local s = attached == '1' and {} or redis.call('HMGET', session_key(session), 'spec', 'caller')
  return { 'claimed', id, f[1], int(math.max(0, tonumber(f[3]) - tonumber(f[2]))), f[4], f[5], s[1] or '', f[6], s[2] or '' }
end

-- take claims the next execution of a session's lane for its runner: queued -> running. It returns
-- the answer for the runner, or nil if there is none that may begin.
local function take(session, runner, attached, lane)
  local jobs, ready = lane_jobs_key(session, lane), ready_member(session, lane)
  while true do
    local id = redis.call('ZRANGE', jobs, 0, 0)[1]
    if id and is_paused('sessions') and redis.call('HGET', job_key(id), 'queue') == 'sessions' then
      redis.call('SADD', runner_ready_key(runner), ready) -- the runner asks again
      return nil
    end
    redis.call('SREM', runner_ready_key(runner), ready)
    if not id then return nil end
    redis.call('ZREM', jobs, id)
    if lane ~= '' then aside_by(session, -1) end
    local f = redis.call('HMGET', job_key(id), 'state', 'attempt', 'queue')
    if f[1] == 'queued' then
      redis.call('HSET', job_key(id), 'state', 'running', 'attempt', int(tonumber(f[2]) + 1), 'runner', runner,
        'session', session, 'started_at', int(now_ms()))
      if lane == '' then
        redis.call('HSET', session_key(session), 'current', id)
      else
        redis.call('HSET', session_lanes_key(session), lane, id)
      end
      redis.call('SADD', P .. 'runners', runner)
      redis.call('SADD', runner_jobs_key(runner), id)
      reindex(id, f[3], 'queued', 'running')
      return claim_answer(session, id, attached)
    end
  end
end

-- aside_of returns the running and the waiting jobs of a session's other lanes than the default one.
local function aside_of(session)
  local running, waiting = {}, {}
  local lanes = redis.call('HGETALL', session_lanes_key(session))
  for i = 1, #lanes, 2 do
    if lanes[i + 1] ~= '' then table.insert(running, lanes[i + 1]) end
    for _, id in ipairs(redis.call('ZRANGE', lane_jobs_key(session, lanes[i]), 0, -1)) do table.insert(waiting, id) end
  end
  return running, waiting
end

-- clear_lanes deletes the other lanes of a session that has ended.
local function clear_lanes(session, runner)
  for _, lane in ipairs(redis.call('HKEYS', session_lanes_key(session))) do
    redis.call('DEL', lane_jobs_key(session, lane))
    redis.call('SREM', runner_ready_key(runner), ready_member(session, lane))
  end
  redis.call('DEL', session_lanes_key(session))
  redis.call('SREM', LANED, session)
end

-- ended_bytes is what the record of a job that has ended takes, as settle counts it.
local function ended_bytes(key)
  local f = redis.call('HMGET', key, 'event_bytes', 'hook_url')
  local bytes = RECORD_BYTES + ENDED_BYTES + tonumber(f[1] or 0) + hook_bytes(f[2])
  for _, text in ipairs({ 'result', 'large', 'metadata', 'spec', 'attempts' }) do bytes = bytes + redis.call('HSTRLEN', key, text) end
  return bytes
end

-- missing distinguishes a job that was never known from one whose record has expired.
local function missing(id)
  if redis.call('EXISTS', P .. 'gone:' .. id) == 1 then return { 'gone' } end
  return { 'missing' }
end

-- missing_for is missing for a caller. That a record has expired is for those to know who could see it.
local function missing_for(id, caller)
  local stone = redis.call('GET', P .. 'gone:' .. id)
  if stone and (stone == '1' or stone == stone_of(caller, true) or stone == stone_of(caller, false)) then return { 'gone' } end
  return { 'missing' }
end

-- keeps_request says whether the record of a job keeps the request after its end, so that the job can run again. A
-- synchronous caller has the request, a batch has its lines, and the code of a session depends on earlier code. A cancelled job
-- gives its room back unless it is small.
local KEPT_REQUEST, KEPT_FAILED = 16384, 1048576
local function keeps_request(id, queue, to, in_session, waiter, bytes)
  if bytes == 0 or in_session or queue == 'operations' or is_of_batch(id) then return false end
  if to == 'failed' then return bytes <= KEPT_FAILED end
  return not waiter and bytes <= KEPT_REQUEST
end

-- forget_messages deletes what callers have sent to a command that has ended, and it has not taken.
local function forget_messages(id, caller, cost)
  redis.call('DEL', job_key(id) .. ':messages')
  redis.call('HDEL', job_key(id), 'told_cost')
  hold(caller, -cost)
end

-- settle moves a job to a terminal state: the record gets its end and its time
-- to live, a tombstone outlives it, and all waiters are notified. quiet is for jobs of a
-- session whose runner calls for the next one anyway. spent is what it took of its runner (use_job).
local function settle(id, to, result, code, message, tombstone_ms, quiet, spent)
  local key = job_key(id)
  local f = redis.call('HMGET', key, 'state', 'queue', 'runner', 'result_ttl', 'notify', 'waiter', 'hook_url', 'in_session',
    'events', 'attempt', 'files', 'caller', 'event_bytes', 'after', 'lane', 'calls', 'told_cost', 'out_cost', 'attempts')
  local now, ttl = now_ms(), tonumber(f[4])
  -- The webhook's message is made from the record, so the record stays until it is delivered.
  local life, keeps = f[7] and math.max(ttl, HOOK_TTL) or ttl, false
  if f[12] then
    local texts = redis.call('HSTRLEN', key, 'metadata') + RECORD_BYTES + hook_bytes(f[7]) + tonumber(f[13] or 0) + #(f[19] or '')
    local spec, more = redis.call('HSTRLEN', key, 'spec'), ENDED_BYTES
    if f[9] and not f[13] then -- the event of its end is the first one
      redis.call('HSET', key, 'event_bytes', STREAM_BYTES)
      more = more + STREAM_BYTES
    end
    keeps = keeps_request(id, f[2], to, f[8], f[6], spec)
    hold_until(f[12], spec + texts - STONE_BYTES, #result + texts + more + (keeps and spec or 0), now, life)
    release_at(f[12], STONE_BYTES, due_after(now, ttl + tonumber(tombstone_ms)))
    use_job(id, f[12], f[2], f[10], f[11], spec, #result, spent, now)
  end
  if result ~= '' then
    local status = f[2] ~= 'operations' and string.match(result, '^{"status":"(%a+)"') or ''
    if #result > LARGE_RESULT and f[2] ~= 'operations' then
      redis.call('HSET', key, 'state', to, 'finished_at', int(now), 'status', status, 'large', result, 'large_bytes', #result)
    elseif status ~= '' then
      redis.call('HSET', key, 'state', to, 'finished_at', int(now), 'status', status, 'result', result)
    else
      redis.call('HSET', key, 'state', to, 'finished_at', int(now), 'result', result)
    end
  else
    redis.call('HSET', key, 'state', to, 'finished_at', int(now))
  end
  if code ~= '' then redis.call('HSET', key, 'failure_code', code, 'failure_message', message) end
  redis.call('HDEL', key, 'most_bytes', 'shares_bytes', 'shares_of', 'notify', 'cancel', 'waiter', 'asks', 'answer', 'task', keeps and 'task' or 'spec')
  if f[16] then forget_calls(id) end
  if f[17] then forget_messages(id, f[12], tonumber(f[17])) end
  if f[18] then -- what followers have not taken yet expires
    redis.call('HDEL', key, 'out_cost')
    hold(f[12], -tonumber(f[18]))
  end
  if f[7] then
    redis.call('HSET', key, 'held_for', int(life))
    redis.call('ZADD', P .. 'hooks', int(now), id)
    redis.call('PUBLISH', P .. 'outbox', 'hooks')
  end
  redis.call('PEXPIRE', key, int(life))
  if f[9] then
    -- The last event, with the highest of all ids: nothing can come after it.
    redis.call('XADD', events_key(id), f[10] .. '-18446744073709551615', 'state', to)
    redis.call('PEXPIRE', events_key(id), int(life))
    redis.call('PUBLISH', events_key(id), '')
  end
  redis.call('SET', P .. 'gone:' .. id, stone_of(f[12], f[8]), 'PX', int(ttl + tonumber(tombstone_ms)))
  redis.call('ZADD', P .. 'expiry', int(now + ttl), id .. ' ' .. f[2] .. ' ' .. to)
  if lists_own(f[2], f[12]) then redis.call('ZADD', P .. 'expiry', int(now + ttl), id .. ' ' .. own_queue(f[2], f[12]) .. ' ' .. to) end
  if f[11] then redis.call('ZADD', P .. 'blobs', int(now + ttl), id) end
  redis.call('ZREM', P .. 'outbox', id)
  if f[14] then redis.call('SREM', awaiting_key(f[14]), id) end
  if reindex(id, f[2], f[1], to, f[12]) > 0 then redis.call('PUBLISH', P .. 'outbox', int(now)) end
  if is_of_batch(id) then batch_settled(id, to, result, now, tombstone_ms) end
  if f[3] then redis.call('SREM', runner_jobs_key(f[3]), id) end
  if f[6] then redis.call('SREM', waiter_jobs_key(f[6]), id) end
  if f[8] then leave_session(f[8], id, quiet, f[15] or '') end
  if f[5] then
    -- The message has the result, so that waiters need not read the record. The answer of an
    -- operation is no result.
    local message = id
    if to == 'completed' and f[2] ~= 'operations' and #result <= SMALL_RESULT then message = id .. ' ' .. result end
    for channel in string.gmatch(f[5], '%S+') do redis.call('PUBLISH', channel, message) end
  end
end

-- batch_forsake fails the jobs that wait for the end of a batch that never comes: it is deleted.
local function batch_forsake(batch, tombstone_ms)
  for _, id in ipairs(redis.call('SMEMBERS', awaiting_key(batch))) do
    if redis.call('HGET', job_key(id), 'state') == 'scheduled' then
      settle(id, 'failed', '', 'batch_deleted', 'the batch that it waited for was deleted before it had ended', tombstone_ms)
    end
  end
  redis.call('DEL', awaiting_key(batch))
  redis.call('SREM', BATCHES_AWAITED, batch)
end

-- retry_or_fail ends an attempt whose runner could not finish it: the job goes
-- back to its queue while attempts are left, by way of the outbox.
local function retry_or_fail(id, code, message, tombstone_ms)
  local key = job_key(id)
  local f = redis.call('HMGET', key, 'queue', 'runner', 'attempt', 'max_attempts', 'cancel', 'caller', 'calls', 'started_at', 'attempts')
  if f[5] then
    settle(id, 'cancelled', '', 'cancelled', 'cancelled while its runner was lost', tombstone_ms)
    return 'cancelled'
  end
  if tonumber(f[3]) >= tonumber(f[4]) then
    settle(id, 'failed', '', code, message, tombstone_ms)
    return 'failed'
  end
  if f[7] then forget_calls(id) end
  local now = int(now_ms())
  -- The field attempts has a line for each attempt that has ended so: its number, begin and end, its runner, and why.
  local line = table.concat({ f[3], f[8], now, f[2], code == '' and '-' or code }, ' ') .. '\n'
  redis.call('HSET', key, 'state', 'queued', 'queued_at', now, 'attempts', (f[9] or '') .. line)
  if f[6] then hold(f[6], #line) end
  redis.call('ZADD', P .. 'outbox', now, id)
  redis.call('PUBLISH', P .. 'outbox', now)
  redis.call('SREM', runner_jobs_key(f[2]), id)
  reindex(id, f[1], 'running', 'queued', f[6])
  if f[6] then redis.call('SADD', window_key(f[1], f[6]), id) end -- whether there is a free one or not
  return 'queued'
end

-- fail_jobs fails the jobs of a session that has ended.
local function fail_jobs(ids, reason, message, tombstone_ms)
  for _, job in ipairs(ids) do
    local state = redis.call('HGET', job_key(job), 'state')
    if state and not terminal_state(state) then
      redis.call('HSET', job_key(job), 'failure_reason', reason)
      settle(job, 'failed', '', 'session_ended', message, tombstone_ms)
    end
  end
end

-- end_session ends a session for good: its waiting executions fail, and so do the running
-- ones unless they may come to their end. The record stays for a while, for the reason. It returns
-- whether there was a session to end.
local function end_session(id, reason, message, let_end, tombstone_ms)
  local key = session_key(id)
  local f = redis.call('HMGET', key, 'state', 'runner', 'caller', 'current', 'created_at', 'name', 'aside', 'paused_at', 'volume')
  if not f[1] or f[1] == 'ended' then return false end
  local now = now_ms()
  hold_ended_session(key, f[3], now, tonumber(tombstone_ms))
  let_end = let_end and not f[8] -- what stands still does not end
  if f[9] then message = message .. (reason == 'runner_lost' and '; its files are kept as they were saved last' or '; its files are kept') .. ' (persist: "' .. f[9] .. '")' end
  redis.call('HSET', key, 'state', 'ended', 'reason', reason, 'message', message, 'ended_at', int(now))
  use_session(f[3], tonumber(f[5]), now)
  redis.call('HDEL', key, 'spec', 'aside')
  redis.call('PEXPIRE', key, tombstone_ms)
  local ids = redis.call('ZRANGE', session_jobs_key(id), 0, -1)
  redis.call('DEL', session_jobs_key(id))
  redis.call('ZREM', SESSIONS_DUE, id)
  redis.call('SREM', SESSIONS_BUSY, id)
  redis.call('SREM', runner_sessions_key(f[2]), id)
  redis.call('SREM', runner_ready_key(f[2]), id)
  redis.call('SREM', runner_ending_key(f[2]), id)
  redis.call('ZREM', caller_sessions_key(f[3]), id)
  if f[6] then redis.call('HDEL', caller_names_key(f[3]), f[6]) end
  if f[8] then wake(id, f[3]) end
  if f[4] and not let_end then table.insert(ids, 1, f[4]) end
  if f[7] then
    local running, waiting = aside_of(id)
    clear_lanes(id, f[2])
    for _, job in ipairs(waiting) do table.insert(ids, job) end
    if not let_end then fail_jobs(running, reason, message, tombstone_ms) end
  end
  fail_jobs(ids, reason, message, tombstone_ms)
  if let_end then tell_closing(f[2], id) else tell_closed(f[2], id) end
  redis.call('PUBLISH', key, '')
  return true
end

-- end_lanes fails the jobs in other lanes than the default one of sessions that an older Kaa has ended: it does not know
-- of them.
local function end_lanes(most, tombstone_ms)
  for _, id in ipairs(redis.call('SRANDMEMBER', LANED, most)) do
    local f = redis.call('HMGET', session_key(id), 'state', 'runner', 'reason', 'message')
    if not f[1] or f[1] == 'ended' then
      local running, waiting = aside_of(id)
      clear_lanes(id, f[2] or '')
      if f[3] ~= 'drained' then fail_jobs(running, f[3] or 'deleted', f[4] or 'the session has ended', tombstone_ms) end
      fail_jobs(waiting, f[3] or 'deleted', f[4] or 'the session has ended', tombstone_ms)
    end
  end
end

-- end_overdue ends sessions that were not used for too long, or that are too old. It marks those that are to be paused.
local function end_overdue(most, tombstone_ms)
  local now = now_ms()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', SESSIONS_DUE, '-inf', int(now), 'LIMIT', 0, most)) do
    local f = redis.call('HMGET', session_key(id), 'created_at', 'max_age', 'ends_at', 'state')
    if not f[1] then
      redis.call('ZREM', SESSIONS_DUE, id)
    elseif tonumber(f[1]) + tonumber(f[2]) <= now then
      end_session(id, 'max_age', 'it had lived for as long as it may (maxAge)', false, tombstone_ms)
    elseif f[3] and tonumber(f[3]) <= now then
      if not pause_at_end(id, now) then end_session(id, 'ends_at', 'the time that was set for its end has come (endsAt)', false, tombstone_ms) end
    elseif f[4] == 'paused' then
      end_session(id, 'pause_limit', 'it was paused for as long as it may be', false, tombstone_ms)
    else
      end_session(id, 'idle_timeout', 'nobody had used it for too long (idleTimeout)', false, tombstone_ms)
    end
  end
end

-- is_due reports whether a run of a schedule is still to be made. One that was asked for has no time.
local function is_due(schedule, revision, due)
  if redis.call('HGET', P .. 'schedule:' .. schedule, 'revision') ~= revision then return false end
  local at = redis.call('ZSCORE', P .. 'schedules', schedule)
  return due == '' or at and tonumber(at) == tonumber(due)
end

-- move_run sets the time of a schedule's next run, after that of due was made or left out.
local function move_run(schedule, due, next)
  if due == '' then return end
  redis.call('HSET', P .. 'schedule:' .. schedule, 'last_due', due)
  if next == '' then
    redis.call('ZREM', P .. 'schedules', schedule)
  else
    redis.call('ZADD', P .. 'schedules', next, schedule)
  end
end
