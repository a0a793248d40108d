-- list: the newest jobs of some listings, and the records of the first of them, in one step: a listing waits for Redis once.
-- It reads only. The merge compares ids as texts, which sort by age.
-- keys: queues
-- args: queue (or '' for all), state (or '' for each of states), states (with a space between), of (whose own listings are read, or ''
--       for those of all), above (the begin of the range of ids), below (its end), most (ids), records (of the first so many)
-- each: field
-- Answers {ids, then the fields of each record}.
local queues, states, lists = { ARGV.queue }, { ARGV.state }, {}
if ARGV.queue == '' then queues = redis.call('SMEMBERS', KEYS.queues) end
if ARGV.state == '' then
  states = {}
  for state in string.gmatch(ARGV.states, '%S+') do states[#states + 1] = state end
end
for _, queue in ipairs(queues) do
  if ARGV.of ~= '' and lists_own(queue, ARGV.of) then queue = own_queue(queue, ARGV.of) end
  for _, state in ipairs(states) do
    local ids = redis.call('ZREVRANGEBYLEX', index_key(queue, state), ARGV.below, ARGV.above, 'LIMIT', 0, ARGV.most)
    if ids[1] then lists[#lists + 1] = { ids = ids, at = 1 } end
  end
end
local merged, last = {}, nil
while #merged < tonumber(ARGV.most) do
  local newest, from = nil, nil
  for _, list in ipairs(lists) do
    local id = list.ids[list.at]
    if id and (not newest or id > newest) then newest, from = id, list end
  end
  if not newest then break end
  from.at = from.at + 1
  if newest ~= last then merged[#merged + 1] = newest end -- one that moves is in two of them
  last = newest
end
local answer = { merged }
for i = 1, math.min(#merged, tonumber(ARGV.records)) do
  answer[i + 1] = redis.call('HMGET', job_key(merged[i]), unpack(ARGV, REST))
end
return answer
