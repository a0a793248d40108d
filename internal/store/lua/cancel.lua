-- cancel: scheduled | queued -> cancelled. A running job gets the durable flag that its runner
-- checks, and its runner is notified.
-- keys: job
-- args: id, waiting_only, code, message, tombstone, nonce
-- The nonce distinguishes a repeated cancel from another one. With waiting_only a running job is
-- left alone.
-- Answers {'cancelled'} | {'running'} | {'finished'} | {'gone'} | {'missing'}.
local f = redis.call('HMGET', KEYS.job, 'state', 'runner', 'cancelled_by')
if not f[1] then return missing(ARGV.id) end
if f[1] == 'cancelled' and f[3] == ARGV.nonce then return { 'cancelled' } end
if terminal_state(f[1]) then return { 'finished' } end
if f[1] == 'running' then
  if ARGV.waiting_only ~= '1' then
    redis.call('HSET', KEYS.job, 'cancel', '1')
    tell_cancelled(f[2], ARGV.id)
  end
  return { 'running' }
end
redis.call('HSET', KEYS.job, 'cancelled_by', ARGV.nonce)
settle(ARGV.id, 'cancelled', '', ARGV.code, ARGV.message, ARGV.tombstone)
return { 'cancelled' }
