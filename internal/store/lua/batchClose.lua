-- batchClose: receiving -> running, when all was received. A batch whose jobs have all ended by then ends.
-- keys: batch
-- args: id, writer, lines, tombstone
-- Answers {state} | {'busy'} | {'closed'} | {'no_batch'}. Sent twice it counts once.
local f = redis.call('HMGET', KEYS.batch, 'state', 'lines', 'writer', 'jobs', 'ended', 'closed_by')
if not f[1] then return { 'no_batch' } end
if f[6] == ARGV.writer then return { f[1] } end
if f[1] ~= 'receiving' then return { 'closed' } end
if f[3] ~= ARGV.writer or f[2] ~= ARGV.lines then return { 'busy' } end
redis.call('HSET', KEYS.batch, 'state', 'running', 'total', f[4], 'received_at', int(now_ms()), 'closed_by', ARGV.writer)
redis.call('DEL', KEYS.batch .. ':writer')
if tonumber(f[5]) >= tonumber(f[4]) then batch_over(ARGV.id, KEYS.batch, now_ms(), ARGV.tombstone) end
redis.call('PUBLISH', P .. 'outbox', 'batches')
return { redis.call('HGET', KEYS.batch, 'state') }
