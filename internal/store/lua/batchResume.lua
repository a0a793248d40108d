-- batchResume: another request goes on with sending a batch, unless one does.
-- keys: batch
-- args: writer, writer_ttl
-- Answers {'yours', state, lines, jobs, offset, sum} | {'busy'} | {'no_batch'}. More may be sent
-- in the state receiving.
local f = redis.call('HMGET', KEYS.batch, 'state', 'lines', 'jobs', 'offset', 'sum', 'writer')
if not f[1] then return { 'no_batch' } end
if f[1] == 'receiving' then
  local writer = redis.call('GET', KEYS.batch .. ':writer')
  if writer and writer ~= ARGV.writer then return { 'busy' } end
  redis.call('SET', KEYS.batch .. ':writer', ARGV.writer, 'PX', ARGV.writer_ttl)
  redis.call('HSET', KEYS.batch, 'writer', ARGV.writer)
end
return { 'yours', f[1], f[2], f[3], f[4], f[5] or '' }
