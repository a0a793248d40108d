-- room: counts the bytes of a part of a job's files before they are written: of its inputs
-- (part 'in'), or of the files of an attempt (its number). Repeated it counts once.
-- keys: job
-- args: id, part, bytes (of the part), lease, caller, alone ('1' if it is the only caller),
--       runner (or '')
-- Without a caller it is for the files of the runner's claim.
-- Answers {'ok'} | {'full', 'caller' or 'all', held, limit} | {'stale'} | {'gone'} | {'missing'}.
local id, part, bytes, caller, alone = ARGV.id, ARGV.part, tonumber(ARGV.bytes), ARGV.caller, ARGV.alone == '1'
local f = redis.call('HMGET', KEYS.job, 'state', 'attempt', 'runner', 'caller', 'alone')
if caller == '' then
  if not f[1] then return missing(id) end
  if f[1] ~= 'running' or f[2] ~= part or f[3] ~= ARGV.runner then return { 'stale' } end
  caller, alone = f[4] or 'anonymous', f[5] == '1'
end
local full = no_files(caller, alone, bytes - tonumber(redis.call('HGET', kept_key(id), part) or 0))
if full then return full end
keep_files(id, caller, part, bytes)
-- From its end on a job with files is in the list of those whose blobs are to go; one that is
-- not recorded in time is there already.
if f[1] then
  redis.call('HSET', KEYS.job, 'files', '1')
else
  redis.call('ZADD', P .. 'blobs', int(now_ms() + tonumber(ARGV.lease)), id)
end
return { 'ok' }
