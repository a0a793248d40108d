-- batchSample: keeps figures from which the rate of a batch is made.
-- keys: batch
-- args: samples
-- Answers {'kept'} | {'no_batch'}.
if redis.call('HEXISTS', KEYS.batch, 'caller') == 0 then return { 'no_batch' } end
redis.call('HSET', KEYS.batch, 'samples', ARGV.samples)
return { 'kept' }
