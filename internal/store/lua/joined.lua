-- joined: a runner takes jobs from now on, so callers may have more slots than they had. The
-- cached slots of queues are made anew.
-- keys: runners, holding
-- args: runner
redis.call('SADD', KEYS.runners, ARGV.runner)
for _, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do redis.call('DEL', fleet_key(queue)) end
local due = 0
for _, entry in ipairs(redis.call('SRANDMEMBER', KEYS.holding, 64)) do
  due = due + fill(string.match(entry, '^(%S+) (%S+)$'))
end
if due > 0 then redis.call('PUBLISH', P .. 'outbox', int(now_ms())) end
return due
