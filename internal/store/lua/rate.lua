-- rate: decides whether a caller's request may pass, by the generic cell rate algorithm. The key
-- holds the time at which the caller's allowance is complete again, in microseconds; each
-- request moves it by the cost of one.
-- keys: rate
-- args: cost (of a request, in microseconds), burst
-- Answers {allowed, remaining, retry after, complete again after}, in microseconds.
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000000 + tonumber(t[2])
local cost, burst = tonumber(ARGV.cost), tonumber(ARGV.burst)
local whole = math.max(now, tonumber(redis.call('GET', KEYS.rate) or now))
local room = now + cost * burst - whole
if room < cost - 1 then return { 0, 0, int(math.ceil(cost - room)), int(whole - now) } end
whole = whole + cost
redis.call('SET', KEYS.rate, int(whole), 'PX', int(math.ceil((whole - now) / 1000) + 1))
return { 1, int(math.floor((room - cost) / cost + 0.001)), 0, int(whole - now) }
