-- forget: the blobs of jobs are deleted, and do not count any more.
-- KEYS blobs   ARGV id, ...
-- Answers {'ok'}.
for _, id in ipairs(ARGV) do
  local kept = redis.call('HGETALL', kept_key(id))
  local caller, bytes = nil, 0
  for i = 1, #kept, 2 do
    if kept[i] == 'caller' then caller = kept[i + 1] else bytes = bytes + tonumber(kept[i + 1]) end
  end
  if caller then count_files(caller, -bytes) end
  redis.call('DEL', kept_key(id))
  redis.call('ZREM', KEYS[1], id)
end
return { 'ok' }
