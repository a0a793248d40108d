-- leaveVolume: notes that files of a session could not be saved, or that its runner saves no more. A session that lives stays the user of the volume.
-- keys: session
-- args: session, runner, caller, name, error (why, or ''), leaves ('1' if it saves no more)
-- Answers {'ok'} | {'stale'}. It may be sent twice.
local key, now = volume_key(ARGV.caller, ARGV.name), now_ms()
if not has_volume(key, ARGV.session, ARGV.runner) then return { 'stale' } end
if ARGV.error ~= '' then
  redis.call('HSET', key, 'error', ARGV.error, 'error_at', int(now))
  local f = redis.call('HMGET', KEYS.session, 'state', 'message', 'volume_saved_at')
  if f[1] then redis.call('HSET', KEYS.session, 'volume_error', ARGV.error, 'volume_error_at', int(now)) end
  if f[1] == 'ended' and ARGV.leaves == '1' then -- the reason of its end says that they are kept
    redis.call('HSET', KEYS.session, 'message', f[2] .. ', but without the last changes: ' .. ARGV.error)
  end
end
if ARGV.leaves == '1' then
  redis.call('HDEL', key, 'runner')
  if not volume_user(key, now) then redis.call('HDEL', key, 'session') end
  keep_volume(key, now)
end
return { 'ok' }
