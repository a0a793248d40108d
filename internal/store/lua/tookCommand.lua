-- tookCommand: removes messages that a command has taken.
-- keys: job, messages
-- each: id
-- Answers how many there were. Sent twice it counts once.
local taken, cost = 0, 0
for i = REST, #ARGV, STEP do
  local entry = redis.call('XRANGE', KEYS.messages, ARGV[i].id, ARGV[i].id)[1]
  if entry then
    taken, cost = taken + 1, cost + tonumber(entry[2][6])
    redis.call('XDEL', KEYS.messages, ARGV[i].id)
  end
end
local caller = redis.call('HGET', KEYS.job, 'caller')
if cost > 0 and caller then
  redis.call('HINCRBY', KEYS.job, 'told_cost', int(-cost))
  hold(caller, -cost)
end
return taken
