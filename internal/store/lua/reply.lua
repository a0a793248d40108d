-- reply: answers a call that an execution makes to a function of its caller, and notifies its runner.
-- Only the first answer counts. It is kept until the runner has it: see taken.
-- keys: job
-- args: id, session (or '' for any job), caller, call (its id), nonce, text
-- Answers {'ok'} | {'no_call'} | {'gone'} | {'missing'}. With the same nonce again, the same.
local f = redis.call('HMGET', KEYS.job, 'state', 'in_session', 'caller', 'runner', 'attempt', 'event_bytes')
if not f[1] then return missing_for(ARGV.id, ARGV.caller) end
if f[3] ~= ARGV.caller or ARGV.session ~= '' and f[2] ~= ARGV.session then return { 'missing' } end
local key, head = calls_key(ARGV.id), ARGV.nonce .. ' '
local had = f[1] == 'running' and redis.call('HGET', key, ARGV.call)
if had and string.sub(had, 1, #head) == head then return { 'ok' } end
if had ~= '' then return { 'no_call' } end
redis.call('HSET', key, ARGV.call, head .. ARGV.text)
hold_events(ARGV.id, f[3], f[6], #ARGV.text + EVENT_BYTES, f[5])
tell_reply(f[4], ARGV.id, ARGV.call, ARGV.text)
return { 'ok' }
