-- input: answers an execution of a session that requests input, and notifies its runner. Only
-- the first answer counts.
-- keys: job
-- args: id, session, caller, request (its number), nonce,
--       text ('+' and the text, or '-' for the end of the input)
-- Answers {'ok'} | {'no_input'} | {'gone'} | {'missing'}. With the same nonce again, the same.
local f = redis.call('HMGET', KEYS.job, 'state', 'in_session', 'caller', 'runner', 'asks', 'answer')
if not f[1] then return missing_for(ARGV.id, ARGV.caller) end
if f[2] ~= ARGV.session or f[3] ~= ARGV.caller then return { 'missing' } end
local head = ARGV.request .. ' ' .. ARGV.nonce .. ' '
if f[6] and string.sub(f[6], 1, #head) == head then return { 'ok' } end
if f[1] ~= 'running' or f[5] ~= ARGV.request then return { 'no_input' } end
redis.call('HDEL', KEYS.job, 'asks')
redis.call('HSET', KEYS.job, 'answer', head .. ARGV.text)
tell_answer(f[4], ARGV.id, ARGV.request, ARGV.text)
return { 'ok' }
