-- tellCommand: keeps a message to a running command of a session, and notifies its runner.
-- keys: job, messages
-- args: id, session, caller, nonce, kind ('data', 'eof', 'signal', 'size' or 'attach'), data, cost, most (the cost of all that wait), ttl
-- Answers {'ok'} | {'ended'} | {'input_ended'} | {'full'} | {'missing'} | {'session_paused'}. A session that resumes by itself does. With the nonce of the message before, {'ok'}.
local f = redis.call('HMGET', KEYS.job, 'state', 'in_session', 'caller', 'runner', 'lane', 'queue', 'told', 'told_cost', 'told_eof')
if not f[1] or f[2] ~= ARGV.session or f[3] ~= ARGV.caller or f[6] ~= 'sessions' or f[5] ~= '*' .. ARGV.id then return { 'missing' } end
if f[7] == ARGV.nonce then return { 'ok' } end
if terminal_state(f[1]) then return { 'ended' } end
local input = ARGV.kind == 'data' or ARGV.kind == 'eof'
if input and f[9] then return { 'input_ended' } end
local cost = tonumber(f[8] or 0) + tonumber(ARGV.cost)
if cost > tonumber(ARGV.most) then return { 'full' } end
local paused = ARGV.kind ~= 'attach' and redis.call('HMGET', session_key(ARGV.session), 'paused_at', 'resumes', 'runner')
if paused and paused[1] then
  if not paused[2] then return { 'session_paused' } end
  wake(ARGV.session, ARGV.caller)
  turn(ARGV.session, true, '')
  redis.call('SADD', runner_ready_key(paused[3]), ARGV.session)
  tell_ready(paused[3], ARGV.session)
end
redis.call('HSET', KEYS.job, 'told', ARGV.nonce, 'told_cost', int(cost))
if ARGV.kind == 'eof' then redis.call('HSET', KEYS.job, 'told_eof', '1') end
redis.call('XADD', KEYS.messages, '*', 'kind', ARGV.kind, 'data', ARGV.data, 'cost', ARGV.cost)
redis.call('PEXPIRE', KEYS.messages, ARGV.ttl)
hold(ARGV.caller, tonumber(ARGV.cost))
if f[1] == 'running' then tell_command(f[4], ARGV.id) end
return { 'ok' }
