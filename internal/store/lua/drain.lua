-- drain: asks a runner to take nothing new, or to take jobs again. The runner is notified.
-- keys: runner, drained
-- args: runner, on ('1' to take nothing new)
-- Answers {'asked'} | {'missing'}: no such runner is alive.
if redis.call('EXISTS', KEYS.runner) == 0 then return { 'missing' } end
redis.call(ARGV.on == '1' and 'SADD' or 'SREM', KEYS.drained, ARGV.runner)
tell_drain(ARGV.runner)
return { 'asked' }
