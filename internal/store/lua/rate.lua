-- rate: decides whether a request may pass, by the generic cell rate algorithm, for one rate or
-- several: it passes if it may by each. The key of a rate holds the time at which the allowance is
-- complete again, in microseconds; each request that passes moves it by the cost of one.
-- keys: rate (one of them)
-- each: of, cost (of a request, in microseconds), burst
-- Answers {allowed, remaining, retry after, complete again after, which}, in microseconds; of the rate
-- that leaves fewest, or by which it has to wait longest. The first one is 0.
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000000 + tonumber(t[2])
local rates, refused = {}, nil
for i = REST, #ARGV, STEP do
  local r = { key = P .. 'rate:' .. ARGV[i].of, cost = tonumber(ARGV[i].cost), burst = tonumber(ARGV[i].burst) }
  r.whole = math.max(now, tonumber(redis.call('GET', r.key) or now))
  r.room = now + r.cost * r.burst - r.whole
  r.wait = math.ceil(r.cost - r.room)
  r.which = #rates
  rates[#rates + 1] = r
  if r.room < r.cost - 1 and (not refused or r.wait > refused.wait) then refused = r end
end
if refused then return { 0, 0, int(refused.wait), int(refused.whole - now), refused.which } end
local least = nil
for _, r in ipairs(rates) do
  r.whole = r.whole + r.cost
  redis.call('SET', r.key, int(r.whole), 'PX', int(math.ceil((r.whole - now) / 1000) + 1))
  r.left = math.floor((r.room - r.cost) / r.cost + 0.001)
  if not least or r.left < least.left then least = r end
end
return { 1, int(least.left), 0, int(least.whole - now), least.which }
