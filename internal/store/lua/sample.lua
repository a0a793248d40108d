-- sample: writes down what the queues and the runners have now. Zeros are left out, and idle queues cost one command.
-- keys: sample, runners
-- args: ttl
-- each: queue
local now, values, lists = now_ms(), {}, {}
local function put(name, n)
  if n ~= 0 then
    values[#values + 1] = name
    values[#values + 1] = int(n)
  end
end
for i = REST, #ARGV, STEP do
  lists[#lists + 1] = index_key(ARGV[i].queue, 'queued')
  lists[#lists + 1] = index_key(ARGV[i].queue, 'running')
end
if lists[1] and redis.call('EXISTS', unpack(lists)) > 0 then
  for i = REST, #ARGV, STEP do
    local queue = ARGV[i].queue
    put('active:' .. queue, redis.call('ZCARD', index_key(queue, 'running')))
    local oldest = redis.call('ZRANGE', index_key(queue, 'queued'), 0, 0)[1]
    if oldest then
      put('depth:' .. queue, redis.call('ZCARD', index_key(queue, 'queued')))
      put('oldest:' .. queue, math.max(0, now - tonumber(redis.call('HGET', job_key(oldest), 'queued_at') or now)))
    end
  end
end
local sums = { concurrency = 0, active = 0, parked = 0, sessions = 0, memoryBytes = 0, memoryLimitBytes = 0 }
local runners = 0
for _, runner in ipairs(redis.call('SMEMBERS', KEYS.runners)) do
  local text = redis.call('GET', P .. 'runner:' .. runner)
  if text then
    local info = cjson.decode(text)
    runners = runners + 1
    for name, sum in pairs(sums) do sums[name] = sum + (tonumber(info[name]) or 0) end
  end
end
put('slots', sums.concurrency)
put('busy', sums.active)
put('parked', sums.parked)
put('sessions', sums.sessions)
put('memory', sums.memoryBytes)
put('memory_limit', sums.memoryLimitBytes)
redis.call('HSET', KEYS.sample, 'runners', int(runners), unpack(values))
redis.call('PEXPIRE', KEYS.sample, ARGV.ttl)
return runners
