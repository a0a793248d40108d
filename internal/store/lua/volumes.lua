-- volumes: reads the volumes of a caller in the order of their names.
-- args: caller, from (as ZRANGEBYLEX takes it), to (the same), most
-- Answers {{name, created_at, saved_at, bytes, entries, deleted at, session, error, error_at, skipped}, ...}, with '' for a field that it does not have.
local answer, now = {}, now_ms()
for _, name in ipairs(redis.call('ZRANGEBYLEX', caller_volumes_key(ARGV.caller), ARGV.from, ARGV.to, 'LIMIT', 0, ARGV.most)) do
  local key = volume_key(ARGV.caller, name)
  local f = redis.call('HMGET', key, 'created_at', 'saved_at', 'bytes', 'entries', 'error', 'error_at', 'skipped')
  local user = volume_user(key, now)
  table.insert(answer, { name, f[1] or '', f[2] or '', f[3] or '', f[4] or '', not user and redis.call('ZSCORE', P .. 'volumes', key) or '', user or '',
    f[5] or '', f[6] or '', f[7] or '' })
end
return answer
