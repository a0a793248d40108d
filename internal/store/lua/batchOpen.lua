-- batchOpen: nothing -> a batch of which nothing was received.
-- keys: batch, idempotency (any key when there is none)
-- args: id, caller, name, skip, ttl, defaults, sum, writer, writer_ttl, idempotent ('1' if there is such a key),
--       idempotency_ttl, most (batches of the caller that have not ended, or '0'),
--       most_bytes, shared (as for create), keep ('1' if its lines stay for a rerun), rerun_of (a batch and the marks of
--       the jobs of it that run again, or ''), hook_url (or ''), hook_secret, hook_percent (after so many percent of the jobs there
--       is a message, or '0' for one at the end only), archive ('1' if it is to have an archive), unended (of archives)
-- Answers {'opened'} | {'known', id} | {'mismatch'} | {'many', how many, limit} | {'bytes', held, limit}.
-- Sent twice by one writer it counts once.
local caller, open = ARGV.caller, BATCHES_OPEN .. ':of:' .. ARGV.caller
if redis.call('EXISTS', KEYS.batch) == 1 then return { 'opened' } end
if ARGV.idempotent ~= '' then
  local seen = redis.call('GET', KEYS.idempotency)
  local id = seen and string.match(seen, '^batch (%S+)$')
  if id then return { 'known', id } end
  if seen then return { 'mismatch' } end
end
local many, most = redis.call('SCARD', open), tonumber(ARGV.most)
if most > 0 and many >= most then return { 'many', many, most } end
local bytes, again = BATCH_BYTES + #ARGV.name + #ARGV.defaults + #ARGV.rerun_of + batch_hook_bytes(ARGV.hook_url, ARGV.hook_percent) +
  (ARGV.archive ~= '' and ARCHIVE_BYTES or 0),
  ARGV.idempotent ~= '' and REPEAT_BYTES or 0
local full = no_bytes(caller, bytes + again, ARGV.most_bytes, ARGV.shared)
if full then return full end
local now = int(now_ms())
redis.call('HSET', KEYS.batch, 'state', 'receiving', 'caller', caller, 'skip', ARGV.skip, 'ttl', ARGV.ttl, 'created_at', now,
  'received_at', now, 'sum', ARGV.sum, 'writer', ARGV.writer, 'held', bytes, 'lines', 0, 'jobs', 0, 'offset', 0, 'next', 0, 'fed', 0, 'ended', 0)
if ARGV.name ~= '' then redis.call('HSET', KEYS.batch, 'name', ARGV.name) end
if ARGV.keep ~= '' then redis.call('HSET', KEYS.batch, 'keep', '1') end
if ARGV.archive ~= '' then
  redis.call('HSET', KEYS.batch, 'archive', 'waiting')
  redis.call('ZADD', BATCH_ARCHIVES, int(now_ms() + tonumber(ARGV.unended)), ARGV.id)
end
if ARGV.rerun_of ~= '' then redis.call('HSET', KEYS.batch, 'rerun_of', ARGV.rerun_of) end
if ARGV.hook_url ~= '' then
  redis.call('HSET', KEYS.batch, 'hook_url', ARGV.hook_url)
  if ARGV.hook_secret ~= '' then redis.call('HSET', KEYS.batch, 'hook_secret', ARGV.hook_secret) end
  if ARGV.hook_percent ~= '0' then redis.call('HSET', KEYS.batch, 'hook_percent', ARGV.hook_percent) end
end
if ARGV.defaults ~= '' then redis.call('HSET', KEYS.batch, 'defaults', ARGV.defaults) end
if ARGV.idempotent ~= '' then
  redis.call('HSET', KEYS.batch, 'idempotency', KEYS.idempotency)
  redis.call('SET', KEYS.idempotency, 'batch ' .. ARGV.id, 'PX', ARGV.idempotency_ttl)
  local due = due_after(tonumber(now), tonumber(ARGV.idempotency_ttl))
  redis.call('HSET', KEYS.batch, 'repeat_due', due)
  release_at(caller, again, due)
end
redis.call('SET', KEYS.batch .. ':writer', ARGV.writer, 'PX', ARGV.writer_ttl)
hold(caller, bytes + again)
redis.call('SADD', BATCHES_OPEN, ARGV.id)
redis.call('SADD', open, ARGV.id)
redis.call('ZADD', index_key('batches', 'all'), 0, ARGV.id)
if is_tenant(caller) then redis.call('ZADD', index_key(own_queue('batches', caller), 'all'), 0, ARGV.id) end
return { 'opened' }
