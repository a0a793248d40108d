-- batchAdd: records a chunk of a batch.
-- keys: batch
-- args: id, writer, writer_ttl, before (lines), lines, first (index), jobs (in all), offset, sum, data, most_bytes, shared, tombstone
-- each: kind (code, refused, line), name (the digest of a code, the index of a refused line), text
-- Answers {'added'} | {'busy'} | {'closed'} | {'no_batch'} | {'bytes', held, limit}. Sent twice it counts once.
local key = KEYS.batch
local f = redis.call('HMGET', key, 'state', 'lines', 'writer', 'caller')
if not f[1] then return { 'no_batch' } end
if f[3] ~= ARGV.writer then return { 'busy' } end
if f[1] ~= 'receiving' then return { 'closed' } end
if f[2] == ARGV.lines and f[2] ~= ARGV.before then return { 'added' } end
if f[2] ~= ARGV.before then return { 'busy' } end
local first, jobs = tonumber(ARGV.first), tonumber(ARGV.jobs)
-- Four bytes of a job stay until the batch is deleted.
local bytes, chunk = 4 * (jobs - first), #ARGV.data
for i = REST, #ARGV, STEP do bytes = bytes + #ARGV[i].text + EVENT_BYTES end
local full = no_bytes(f[4], bytes + chunk, ARGV.most_bytes, ARGV.shared)
if full then return full end
redis.call('SET', key .. ':writer', ARGV.writer, 'PX', ARGV.writer_ttl)
redis.call('HSET', key, 'lines', ARGV.lines, 'jobs', ARGV.jobs, 'offset', ARGV.offset, 'sum', ARGV.sum, 'received_at', int(now_ms()))
if jobs > first then
  redis.call('SET', chunk_key(ARGV.id, ARGV.first), ARGV.data)
  redis.call('ZADD', key .. ':chunks', ARGV.first, ARGV.first)
  bytes = bytes + chunk + EVENT_BYTES
end
local refused = 0
for i = REST, #ARGV, STEP do
  if ARGV[i].kind == 'code' then
    if redis.call('HSETNX', key .. ':code', ARGV[i].name, ARGV[i].text) == 0 then bytes = bytes - #ARGV[i].text - EVENT_BYTES end
  else
    refused = refused + 1
    redis.call('SETRANGE', key .. ':ends', ARGV[i].name, 'r')
    redis.call('APPEND', key .. ':order', packed(tonumber(ARGV[i].name)))
    if redis.call('LLEN', key .. ':refused') < MAX_REFUSALS then
      redis.call('RPUSH', key .. ':refused', ARGV[i].text)
      redis.call('HINCRBY', key, 'refused_bytes', #ARGV[i].text + EVENT_BYTES)
    else
      bytes = bytes - #ARGV[i].text - EVENT_BYTES
    end
  end
end
redis.call('HINCRBY', key, 'held', bytes)
hold(f[4], bytes)
if refused > 0 then
  redis.call('HINCRBY', key, 'fed', refused)
  batch_count(ARGV.id, key, 'refused', refused, now_ms(), ARGV.tombstone)
end
if first == 0 and jobs > 0 then redis.call('PUBLISH', P .. 'outbox', 'batches') end
return { 'added' }
