-- archived: how an attempt to write the archive of a batch goes on.
-- keys: batch, archives
-- args: id, token, wait (ms until the archive is due again, for this process or another; or '' if it is written), error (why it was
--       not written, or ''), bytes, results, expired (results that were gone)
-- Answers {'ok'} | {'stale'} | {'no_batch'}. It may be sent twice.
local f = redis.call('HMGET', KEYS.batch, 'state', 'archive_token', 'finished_at', 'ttl')
if not f[1] then return { 'no_batch' } end
if f[2] ~= ARGV.token then return { 'stale' } end
redis.call('HDEL', KEYS.batch, 'archive_error')
if ARGV.error ~= '' then redis.call('HSET', KEYS.batch, 'archive_error', ARGV.error) end
if ARGV.wait ~= '' then
  redis.call('ZADD', KEYS.archives, int(now_ms() + tonumber(ARGV.wait)), ARGV.id)
  return { 'ok' }
end
redis.call('HSET', KEYS.batch, 'archive', 'written', 'archive_bytes', ARGV.bytes, 'archive_results', ARGV.results, 'archive_expired', ARGV.expired)
redis.call('ZREM', KEYS.archives, ARGV.id)
-- The object goes with the record.
redis.call('ZADD', P .. 'blobs', int(tonumber(f[3]) + tonumber(f[4])), ARGV.id)
return { 'ok' }
