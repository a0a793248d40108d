-- tally: adds the oldest entries of the log of usage to the figures of their callers' days.
-- keys: log
-- args: most (entries), named (callers with figures of their own in the sums, each between two spaces)
-- Answers how many there were. Sent twice, it adds other entries.
local FIGURES = { 'executions', 'run', 'cpu', 'memory', 'in', 'out', 'sessions', 'session_time' }
local entries, sums = redis.call('LPOP', KEYS.log, ARGV.most) or {}, {}
for _, entry in ipairs(entries) do
  local caller, day, amounts = string.match(entry, '^(%S+) (%S+) (.*)$')
  local whose = day .. ':' .. caller
  if not sums[whose] then sums[whose] = { day = day, caller = caller } end
  local sum, i = sums[whose], 1
  for amount in string.gmatch(amounts, '%S+') do
    sum[i] = (sum[i] or 0) + tonumber(amount)
    i = i + 1
  end
end
for whose, sum in pairs(sums) do
  local shown = string.find(ARGV.named, ' ' .. sum.caller .. ' ', 1, true) and sum.caller or ''
  local day, key = P .. 'usage:' .. sum.day, P .. 'usage:' .. whose
  for i, name in ipairs(FIGURES) do
    if sum[i] and sum[i] ~= 0 then
      redis.call('HINCRBY', key, name, int(sum[i]))
      redis.call('HINCRBY', P .. 'used', shown .. ' ' .. name, int(sum[i]))
    end
  end
  redis.call('ZADD', day, 0, sum.caller)
  redis.call('PEXPIRE', day, int(USAGE_TTL))
  redis.call('PEXPIRE', key, int(USAGE_TTL))
end
return #entries
