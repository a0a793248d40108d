-- save: makes a schedule, or changes it.
-- args: id, caller, revision (before the change; '' for a new one), spec, request (of its jobs), next (ms of its next
--       run, '' for no run, or 'keep'), most (schedules of a caller, or '0'), most_bytes, shared (as for create)
-- A change that a run made meanwhile outdates is refused: its next run could be that run again.
-- Answers {'saved', created_at, updated_at} | {'full', count, limit} | {'bytes', held, limit} | {'stale'} |
-- {'missing'}. It may be sent twice.
local key, now = P .. 'schedule:' .. ARGV.id, int(now_ms())
local f = redis.call('HMGET', key, 'revision', 'created_at', 'updated_at', 'last_due', 'spec', 'request', 'held', 'caller')
local revision = '1'
if ARGV.revision ~= '' then
  if not f[1] then return { 'missing' } end
  revision = int(tonumber(ARGV.revision) + 1)
end
if f[1] == revision and f[5] == ARGV.spec and f[6] == ARGV.request then return { 'saved', f[2], f[3] } end
if ARGV.revision ~= '' then
  if f[1] ~= ARGV.revision or f[4] and tonumber(ARGV.next) and tonumber(ARGV.next) <= tonumber(f[4]) then return { 'stale' } end
end
local bytes, had = RECORD_BYTES + #ARGV.spec + #ARGV.request, tonumber(f[7] or 0)
local full = bytes > had and no_bytes(f[8] or ARGV.caller, bytes - had, ARGV.most_bytes, ARGV.shared)
if full then return full end
if ARGV.revision == '' then
  local of = P .. 'schedules:of:' .. ARGV.caller
  local count, most = redis.call('ZCARD', of), tonumber(ARGV.most)
  if most > 0 and count >= most then return { 'full', count, most } end
  redis.call('HSET', key, 'caller', ARGV.caller, 'created_at', now)
  redis.call('ZADD', of, 0, ARGV.id)
  redis.call('ZADD', P .. 'schedules:all', 0, ARGV.id)
end
redis.call('HSET', key, 'revision', revision, 'spec', ARGV.spec, 'request', ARGV.request, 'updated_at', now, 'held', bytes)
hold(f[8] or ARGV.caller, bytes - had)
if ARGV.next == '' then
  redis.call('ZREM', P .. 'schedules', ARGV.id)
elseif ARGV.next ~= 'keep' then
  redis.call('ZADD', P .. 'schedules', ARGV.next, ARGV.id)
end
return { 'saved', f[2] or now, now }
