-- batchRemove: completed | cancelled | failed -> nothing. The records of its jobs stay until they expire.
-- keys: batch
-- args: id
-- Answers {'removed'} | {'batch_unended'} | {'no_batch'}.
local state = redis.call('HGET', KEYS.batch, 'state')
if not state then return { 'no_batch' } end
if state ~= 'completed' and state ~= 'cancelled' and state ~= 'failed' then return { 'batch_unended' } end
batch_release(ARGV.id, now_ms()) -- a process of an older Kaa has ended it
batch_drop(ARGV.id, KEYS.batch)
return { 'removed' }
