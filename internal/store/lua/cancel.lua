-- cancel: scheduled | queued -> cancelled. A running job gets the durable flag that its runner
-- checks, and its runner is notified.
-- KEYS job   ARGV id, waiting_only, code, message, tombstone, nonce
-- The nonce distinguishes a repeated cancel from another one. With waiting_only a running job is
-- left alone.
-- Answers {'cancelled'} | {'running'} | {'finished'} | {'gone'} | {'missing'}.
local f = redis.call('HMGET', KEYS[1], 'state', 'runner', 'cancelled_by')
if not f[1] then return missing(ARGV[1]) end
if f[1] == 'cancelled' and f[3] == ARGV[6] then return { 'cancelled' } end
if terminal_state(f[1]) then return { 'finished' } end
if f[1] == 'running' then
  if ARGV[2] ~= '1' then
    redis.call('HSET', KEYS[1], 'cancel', '1')
    tell_cancelled(f[2], ARGV[1])
  end
  return { 'running' }
end
redis.call('HSET', KEYS[1], 'cancelled_by', ARGV[6])
settle(ARGV[1], 'cancelled', '', ARGV[3], ARGV[4], ARGV[5])
return { 'cancelled' }
