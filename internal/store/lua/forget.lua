-- forget: the blobs of jobs are deleted, and do not count any more.
-- keys: blobs
-- each: id
-- Answers {'ok'}.
for i = REST, #ARGV, STEP do
  local id = ARGV[i].id
  local kept = redis.call('HGETALL', kept_key(id))
  local caller, bytes = nil, 0
  for k = 1, #kept, 2 do
    if kept[k] == 'caller' then caller = kept[k + 1] else bytes = bytes + tonumber(kept[k + 1]) end
  end
  if caller then count_files(caller, -bytes) end
  redis.call('DEL', kept_key(id))
  redis.call('ZREM', KEYS.blobs, id)
end
return { 'ok' }
