-- roomVolume: counts the bytes of a snapshot before they are written. The cleaner deletes the snapshot unless it is saved within the lease.
-- keys: session
-- args: session, runner, caller, name, snapshot, bytes, lease
-- Answers {'ok'} | {'full', 'caller' or 'all', held, limit} | {'stale'}. Repeated it counts once.
if not has_volume(volume_key(ARGV.caller, ARGV.name), ARGV.session, ARGV.runner) then return { 'stale' } end
local id, bytes = snapshot_owner(ARGV.snapshot), tonumber(ARGV.bytes)
local alone = redis.call('HGET', KEYS.session, 'shares') ~= '1'
local full = no_files(ARGV.caller, alone, bytes - tonumber(redis.call('HGET', kept_key(id), 'volume') or 0))
if full then return full end
keep_files(id, ARGV.caller, 'volume', bytes)
redis.call('ZADD', P .. 'blobs', int(now_ms() + tonumber(ARGV.lease)), id)
return { 'ok' }
