-- change: changes the settings of a session that lives. Its state stays.
-- keys: session
-- args: id, caller (or '' for any), idle_timeout (or '' to keep it), max_age (the same),
--       ends_at ('' to keep it, 'none' to remove it, or the time), ends_in (or '', from now on),
--       later ('1' if the end may only become a later one), metadata (or '' to keep it),
--       at_end (arguments of the pause at the end, 'none' for no pause then, or '' to keep that)
-- Answers {'changed'} | {'too_late', latest time that max_age allows} | {'session_ended', reason, message, volume}
-- | {'no_session'} | {'bytes', held, limit}.
local id, now = ARGV.id, now_ms()
local f = redis.call('HMGET', KEYS.session, 'state', 'caller', 'reason', 'message', 'created_at', 'max_age', 'idle_timeout', 'ends_at', 'last_used', 'pause_until', 'at_end')
if not f[1] or (ARGV.caller ~= '' and f[2] ~= ARGV.caller) then return { 'no_session' } end
if f[1] == 'ended' then return ended_answer(KEYS.session) end
local max_age = ARGV.max_age ~= '' and ARGV.max_age or f[6]
local idle_timeout = ARGV.idle_timeout ~= '' and ARGV.idle_timeout or f[7]
local ends_at = f[8]
local asked = ARGV.ends_in ~= '' and int(now + tonumber(ARGV.ends_in)) or ARGV.ends_at
if asked == 'none' then
  ends_at = false
elseif asked ~= '' and not (ARGV.later == '1' and ends_at and tonumber(ends_at) >= tonumber(asked)) then
  local latest = latest_end(f[5], max_age)
  if tonumber(asked) > latest then return { 'too_late', int(latest) } end
  ends_at = asked
end
local more = ARGV.at_end ~= '' and (ARGV.at_end == 'none' and 0 or #ARGV.at_end) - redis.call('HSTRLEN', KEYS.session, 'at_end') or 0
more = more + (ARGV.metadata ~= '' and #ARGV.metadata - redis.call('HSTRLEN', KEYS.session, 'metadata') or 0)
local limits = redis.call('HMGET', KEYS.session, 'most_bytes', 'shares_bytes')
local full = more > 0 and no_bytes(f[2], more, limits[1] or '0', limits[2])
if full then return full end
redis.call('HSET', KEYS.session, 'max_age', max_age, 'idle_timeout', idle_timeout)
if ends_at then redis.call('HSET', KEYS.session, 'ends_at', ends_at) else redis.call('HDEL', KEYS.session, 'ends_at') end
if ARGV.at_end == 'none' then
  redis.call('HDEL', KEYS.session, 'at_end', 'end_span')
  f[11] = false
elseif ARGV.at_end ~= '' then
  redis.call('HSET', KEYS.session, 'at_end', ARGV.at_end)
  f[11] = ARGV.at_end
end
if f[11] and (ends_at ~= f[8] or ARGV.at_end ~= '') then
  if ends_at then redis.call('HSET', KEYS.session, 'end_span', int(tonumber(ends_at) - now)) else redis.call('HDEL', KEYS.session, 'end_span') end
  forget_ending(KEYS.session)
end
if ARGV.metadata ~= '' then redis.call('HSET', KEYS.session, 'metadata', ARGV.metadata) end
hold_changed_session(id, more)
local due = latest_end(f[5], max_age, ends_at)
if f[1] == 'idle' then due = math.min(due, tonumber(f[9]) + tonumber(idle_timeout)) end
if f[1] == 'paused' then due = math.min(due, tonumber(f[10])) end
redis.call('ZADD', SESSIONS_DUE, int(due), id)
return { 'changed' }
