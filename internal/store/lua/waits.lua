-- waits: the reason why a queued job, or one that is to run after a batch, does not run yet. It reads only, but for the slots of the queue.
-- A held job waits behind other jobs of its caller in any case: see admit.
-- keys: job
-- args: id
-- Answers {'waits', reason}, without a reason for other jobs | {'gone'} | {'missing'}.
local f = redis.call('HMGET', KEYS.job, 'state', 'queue', 'caller', 'in_session', 'after', 'scheduled_at')
if not f[1] then return missing(ARGV.id) end
if f[1] == 'scheduled' and f[5] and not f[6] then return { 'waits', 'batch' } end
if f[1] ~= 'queued' then return { 'waits', '' } end
if is_paused(f[2]) then return { 'waits', 'paused' } end
if f[4] and f[4] ~= '' then return { 'waits', 'session' } end
if slots_of(f[2]) == 0 then return { 'waits', 'runner' } end
if f[3] and redis.call('ZSCORE', held_key(f[2], f[3]), ARGV.id) then return { 'waits', 'key' } end
return { 'waits', 'slot' }
