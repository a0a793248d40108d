-- batchUnfed: cancels a job of a batch that has no record yet: it never gets one.
-- keys: batch, job
-- args: id (of the batch), index, tombstone
-- Answers {'cancelled'} | {'recorded'}, if it has a record by now | {'finished'} | {'missing'}.
local key, index = KEYS.batch, tonumber(ARGV.index)
local f = redis.call('HMGET', key, 'jobs', 'state')
if not f[1] or index >= tonumber(f[1]) then return { 'missing' } end
if redis.call('EXISTS', KEYS.job) == 1 then return { 'recorded' } end
if batch_has_ended(key, index) then return { 'finished' } end
redis.call('SETRANGE', key .. ':ends', index, 'u')
redis.call('APPEND', key .. ':order', packed(index))
redis.call('HINCRBY', key, 'fed', 1)
batch_count(ARGV.id, key, 'cancelled', 1, now_ms(), ARGV.tombstone)
return { 'cancelled' }
