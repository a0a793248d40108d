-- finish: running -> completed | cancelled | failed, or back to queued when
-- ARGV[8] allows a retry and attempts are left.
-- KEYS job   ARGV id, attempt, runner, to, result, code, message, retry, tombstone,
--                 whether it has files
-- Answers {state}, {'stale'}, {'gone'} or {'missing'}. Only the current claim may
-- finish; the same end sent twice counts once.
local f = redis.call('HMGET', KEYS[1], 'state', 'attempt', 'runner')
if not f[1] then return missing(ARGV[1]) end
if f[2] ~= ARGV[2] or f[3] ~= ARGV[3] then return { 'stale' } end
if f[1] == ARGV[4] then return { f[1] } end
if f[1] ~= 'running' then return { 'stale' } end
if ARGV[8] == '1' then return { retry_or_fail(ARGV[1], ARGV[6], ARGV[7], ARGV[9]) } end
if ARGV[10] ~= '' then redis.call('HSET', KEYS[1], 'files', '1') end
settle(ARGV[1], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[9])
return { ARGV[4] }
