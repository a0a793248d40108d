-- batchMend: counts jobs of a batch that have ended without being counted: a process of an older Kaa ended
-- them. A job that is not there any more has ended; how is not known.
-- keys: batch
-- args: id, tombstone
-- each: index
-- Answers how many there were.
local key, mended = KEYS.batch, 0
if redis.call('HEXISTS', key, 'caller') == 0 then return 0 end
for i = REST, #ARGV, STEP do
  local index = tonumber(ARGV[i].index)
  local id = string.sub(ARGV.id, 1, 30) .. string.format('%06x', index + 1)
  local f = redis.call('HMGET', job_key(id), 'state', 'result', 'large')
  if not batch_has_ended(key, index) and (not f[1] or terminal_state(f[1])) then
    batch_settled(id, f[1] or 'failed', f[2] or f[3] or '', now_ms(), ARGV.tombstone)
    mended = mended + 1
  end
end
return mended
