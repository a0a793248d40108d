-- input: answers an execution of a session that requests input, and notifies its runner. Only
-- the first answer counts.
-- KEYS job   ARGV id, session, caller, number of the request, nonce, '+' and the text, or '-'
--            for the end of the input
-- Answers {'ok'} | {'no_input'} | {'gone'} | {'missing'}. With the same nonce again, the same.
local f = redis.call('HMGET', KEYS[1], 'state', 'in_session', 'caller', 'runner', 'asks', 'answer')
if not f[1] or f[2] ~= ARGV[2] or f[3] ~= ARGV[3] then return missing(ARGV[1]) end
local head = ARGV[4] .. ' ' .. ARGV[5] .. ' '
if f[6] and string.sub(f[6], 1, #head) == head then return { 'ok' } end
if f[1] ~= 'running' or f[5] ~= ARGV[4] then return { 'no_input' } end
redis.call('HDEL', KEYS[1], 'asks')
redis.call('HSET', KEYS[1], 'answer', head .. ARGV[6])
tell_answer(f[4], ARGV[1], ARGV[4], ARGV[6])
return { 'ok' }
