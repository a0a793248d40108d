-- saveVolume: makes a snapshot that is written the one of its volume, and has the one before deleted.
-- keys: session
-- args: session, runner, caller, name, snapshot, bytes, kept (what the bytes count as), entries,
--       skipped (entries that are not in it)
-- Answers {'saved', time} | {'stale'}: the volume is another session's, or the cleaner deletes the snapshot already. It may be sent twice.
local key, id, now = volume_key(ARGV.caller, ARGV.name), ARGV.snapshot, now_ms()
if not has_volume(key, ARGV.session, ARGV.runner) then return { 'stale' } end
local f = redis.call('HMGET', key, 'snapshot', 'saved_at')
if f[1] == id then return { 'saved', f[2] } end
local lease = redis.call('ZSCORE', P .. 'blobs', snapshot_owner(id))
if not lease or tonumber(lease) <= now then return { 'stale' } end
redis.call('ZREM', P .. 'blobs', snapshot_owner(id))
keep_files(snapshot_owner(id), ARGV.caller, 'volume', tonumber(ARGV.kept))
-- A Redis that crashes may lose the last second, and has the snapshot before again.
if f[1] then drop_snapshot(f[1], now + VOLUME_REPLACED) end
redis.call('HSET', key, 'snapshot', id, 'bytes', ARGV.bytes, 'entries', ARGV.entries, 'skipped', ARGV.skipped, 'saved_at', int(now))
redis.call('HDEL', key, 'error', 'error_at')
keep_volume(key, now)
if redis.call('EXISTS', KEYS.session) == 1 then
  redis.call('HSET', KEYS.session, 'volume_saved_at', int(now), 'volume_bytes', ARGV.bytes, 'volume_skipped', ARGV.skipped)
  redis.call('HDEL', KEYS.session, 'volume_error', 'volume_error_at')
end
return { 'saved', int(now) }
