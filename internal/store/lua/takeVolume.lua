-- takeVolume: has a session's runner restore and save its volume.
-- keys: session
-- args: session, runner
-- Answers {'taken', caller, name, snapshot ('' if there is none yet)} | {'none'}: the session has no volume | {'stale'}: it is another
-- session's, or the session is another runner's, or has ended. It may be sent twice.
local f = redis.call('HMGET', KEYS.session, 'state', 'runner', 'caller', 'volume')
if not f[1] or f[1] == 'ended' or f[2] ~= ARGV.runner then return { 'stale' } end
if not f[4] then return { 'none' } end
local key = volume_key(f[3], f[4])
if redis.call('HGET', key, 'session') ~= ARGV.session then return { 'stale' } end
redis.call('HSET', key, 'runner', ARGV.runner)
local v = redis.call('HMGET', key, 'snapshot', 'saved_at', 'bytes', 'skipped')
if v[1] then redis.call('HSET', KEYS.session, 'volume_saved_at', v[2], 'volume_bytes', v[3], 'volume_skipped', v[4]) end
return { 'taken', f[3], f[4], v[1] or '' }
