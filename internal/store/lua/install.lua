-- install: takes the right to install a set of packages, or says that a runner waits for a place to do so. Who waits keeps no other from it.
-- keys: installing
-- args: now (how far it is; '' if it waits), lease
-- Answers {'taken'} | {'others'}: another runner has the right.
local now = redis.call('GET', KEYS.installing)
if now and now ~= '' then return { 'others' } end
redis.call('SET', KEYS.installing, ARGV.now, 'PX', ARGV.lease)
return { 'taken' }
