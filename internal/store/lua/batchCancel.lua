-- batchCancel: receiving | running -> cancelling. The feeder cancels its jobs, and ends it with the last.
-- With code, a batch that was not received to its end is given up instead: what was received of it
-- runs to its end if bad lines are left out, and else nothing of it does.
-- keys: batch
-- args: id, code, message, tombstone
-- Answers {state} | {'batch_ended'} | {'no_batch'}.
local f = redis.call('HMGET', KEYS.batch, 'state', 'jobs', 'ended', 'skip')
local state = f[1]
if not state then return { 'no_batch' } end
if state == 'cancelling' then return { state } end
if state ~= 'receiving' and state ~= 'running' then return { 'batch_ended' } end
if ARGV.code ~= '' then
  if state ~= 'receiving' then return { state } end
  redis.call('HSET', KEYS.batch, 'failure_code', ARGV.code, 'failure_message', ARGV.message)
end
local to = ARGV.code ~= '' and f[4] == '1' and 'running' or 'cancelling'
redis.call('HSET', KEYS.batch, 'state', to, 'total', f[2])
redis.call('DEL', KEYS.batch .. ':writer')
if tonumber(f[3]) >= tonumber(f[2]) then batch_over(ARGV.id, KEYS.batch, now_ms(), ARGV.tombstone) end
redis.call('PUBLISH', P .. 'outbox', 'batches')
return { redis.call('HGET', KEYS.batch, 'state') }
