-- batchFed: a chunk of a batch is in records, so it is deleted, unless the batch keeps its lines. With to, those of its jobs that have no record
-- end without one.
-- keys: batch
-- args: id, first, count, to ('' | cancelled | failed), tombstone
-- Answers {'fed'} | {'again'}, if the batch is being cancelled | {'no_batch'}. Sent twice it counts once.
local key, first, count = KEYS.batch, tonumber(ARGV.first), tonumber(ARGV.count)
local f = redis.call('HMGET', key, 'next', 'caller', 'state', 'keep')
if not f[1] then return { 'no_batch' } end
if tonumber(f[1]) ~= first then return { 'fed' } end
-- Those that were not recorded because of the cancel have to be counted.
if f[3] == 'cancelling' and ARGV.to == '' then return { 'again' } end
if not f[4] then
  local chunk = chunk_key(ARGV.id, ARGV.first)
  local freed = redis.call('STRLEN', chunk)
  redis.call('UNLINK', chunk)
  if redis.call('ZREM', key .. ':chunks', ARGV.first) == 1 then
    freed = freed + EVENT_BYTES
    redis.call('HINCRBY', key, 'held', -freed)
    hold(f[2], -freed)
  end
end
redis.call('HSET', key, 'next', int(first + count))
if ARGV.to ~= '' then
  local ends = redis.call('GETRANGE', key .. ':ends', first, first + count - 1)
  local marks, order, mark = {}, {}, ARGV.to == 'cancelled' and 'u' or 'l'
  local before, records = job_key(string.sub(ARGV.id, 1, 30)), {}
  for i = 0, count - 1 do
    local was = string.sub(ends, i + 1, i + 1)
    marks[i + 1] = was ~= '' and was or '\0'
    if marks[i + 1] == '\0' then records[#records + 1] = before .. string.format('%06x', first + i + 1) end
  end
  -- Most often none has a record, which a command finds out for many at a time.
  local recorded, many = 0, 1000
  for i = 1, #records, many do recorded = recorded + redis.call('EXISTS', unpack(records, i, math.min(i + many - 1, #records))) end
  local at = 0
  for i = 0, count - 1 do
    if marks[i + 1] == '\0' then
      at = at + 1
      if recorded == 0 or redis.call('EXISTS', records[at]) == 0 then
        marks[i + 1] = mark
        order[#order + 1] = packed(first + i)
      end
    end
  end
  if #order > 0 then
    redis.call('SETRANGE', key .. ':ends', first, table.concat(marks))
    redis.call('APPEND', key .. ':order', table.concat(order))
    redis.call('HINCRBY', key, 'fed', #order)
    batch_count(ARGV.id, key, ARGV.to, #order, now_ms(), ARGV.tombstone)
  end
end
return { 'fed' }
