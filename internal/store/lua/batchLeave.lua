-- batchLeave: a request stops sending a batch, so that another one may go on at once. With drop the batch
-- is deleted, for a line of it was refused.
-- keys: batch
-- args: id, writer, drop, tombstone
-- Answers {'left'}.
local f = redis.call('HMGET', KEYS.batch, 'state', 'writer')
if f[1] ~= 'receiving' or f[2] ~= ARGV.writer then return { 'left' } end
if ARGV.drop ~= '' then
  batch_forsake(ARGV.id, ARGV.tombstone)
  batch_drop(ARGV.id, KEYS.batch)
else
  redis.call('DEL', KEYS.batch .. ':writer')
end
return { 'left' }
