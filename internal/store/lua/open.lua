-- open: nothing -> idle, for a session, on the runner with the fewest of them.
-- keys: session
-- args: id, caller, idle_timeout, max_age, spec, metadata, tombstone,
--       shared ('1' if it shares the runners with other callers),
--       most_own (sessions that the caller may have because of its key, or '0'),
--       name (which the caller has chosen, or ''), workdir (the same), home (the same),
--       most_bytes, shares_bytes (most_bytes and shared of create),
--       volume (its name, or ''), most_volumes (volumes that the caller may have, or '0'), memory, disk (bytes that it may take),
--       own_memory, own_disk (bytes that the sessions of the caller may take because of its key, or '0'),
--       ends_at (when it ends at the latest, or ''), ends_in (the same from now on, or ''), at_end (arguments of the pause then, or '')
-- each: runner (that may have it), most (sessions that it has room for), runtime
-- Answers {'opened', when, runner, runtime, the end that is set or '', when it ends unless it is used} | {'too_late', latest time that max_age allows} | {'named', session of this name} | {'full', 'caller' or 'runners', limit, how many it
-- has, 'key' if the limit is that of the key} | {'no_runner'} | {'bytes', held, limit} |
-- {'in_use', session that uses the volume, 'lives' or 'saving'} | {'volumes', how many there are, limit} |
-- {'takes', 'memory' or 'disk', bytes that its sessions may take, limit, bytes of this one, 'key' if the limit is that of the key}.
-- It may be sent twice, so its own id counts as opened.
local id, caller = ARGV.id, ARGV.caller
local now = now_ms()
if redis.call('EXISTS', KEYS.session) == 1 then
  local f = redis.call('HMGET', KEYS.session, 'created_at', 'runner', 'runtime', 'ends_at')
  return { 'opened', f[1], f[2], f[3], f[4] or '', redis.call('ZSCORE', SESSIONS_DUE, id) }
end
local ends_at = ARGV.ends_in ~= '' and int(now + tonumber(ARGV.ends_in)) or ARGV.ends_at
if ends_at ~= '' then
  local latest = latest_end(now, ARGV.max_age)
  if tonumber(ends_at) > latest then return { 'too_late', int(latest) } end
end
if ARGV.name ~= '' then
  local named = redis.call('HGET', caller_names_key(caller), ARGV.name)
  if named then return { 'named', named } end
end
local bytes, volume = session_bytes(ARGV.spec, ARGV.metadata, ARGV.name, ARGV.name, ARGV.workdir, ARGV.home, ARGV.volume, ARGV.at_end), nil
local more = 0
if ARGV.volume ~= '' then
  bytes = bytes + VOLUME_NOTES
  volume = volume_key(caller, ARGV.volume)
  local used = volume_refusal(volume, now)
  if used then return used end
  local most, count = tonumber(ARGV.most_volumes), redis.call('ZCARD', caller_volumes_key(caller))
  if redis.call('EXISTS', volume) == 0 then
    if most > 0 and count >= most then return { 'volumes', count, most } end
    more = VOLUME_BYTES + 2 * #ARGV.volume
  end
end
local full = too_many(caller, 1, tonumber(ARGV.most_own)) or no_bytes(caller, bytes + more, ARGV.most_bytes, ARGV.shares_bytes) or
  no_session_room(caller, tonumber(ARGV.memory), tonumber(ARGV.disk), ARGV.own_memory, ARGV.own_disk)
if full then return full end
local best, fewest, alive, runtimes, shared, free = nil, nil, {}, {}, ARGV.shared == '1', 0
for i = REST, #ARGV, STEP do
  local runner = ARGV[i].runner
  runtimes[runner] = ARGV[i].runtime
  if open_to_sessions(runner) then
    table.insert(alive, runner)
    local n = redis.call('SCARD', runner_sessions_key(runner))
    free = free + math.max(0, tonumber(ARGV[i].most) - n)
    if n < tonumber(ARGV[i].most) and (not fewest or n < fewest) then best, fewest = runner, n end
  end
end
if #alive == 0 then return { 'no_runner' } end
if best and shared then
  local over, own = over_share(caller, 1, runtimes, free)
  if over then return { 'full', 'caller', own, own } end
end
-- A caller evicts its own, and where it shares the runners those of callers that have more.
local function evicts(other)
  return not shared or other == caller or
    redis.call('ZCARD', caller_sessions_key(other)) > redis.call('ZCARD', caller_sessions_key(caller)) + 1
end
if not best and EVICT_AFTER > 0 then
  -- The session with the longest idle time is evicted, if that is long enough.
  local victim, used = nil, now - EVICT_AFTER
  for _, runner in ipairs(alive) do
    for _, session in ipairs(redis.call('SMEMBERS', runner_sessions_key(runner))) do
      local f = redis.call('HMGET', session_key(session), 'state', 'last_used', 'caller')
      if f[1] == 'idle' and tonumber(f[2]) <= used and evicts(f[3]) then best, victim, used = runner, session, tonumber(f[2]) end
    end
  end
  if victim then end_session(victim, 'evicted', 'its place was needed for another one, and it had been idle for long', false, ARGV.tombstone) end
end
if not best then return { 'full', 'runners', 0 } end
redis.call('HSET', KEYS.session, 'state', 'idle', 'runner', best, 'caller', caller, 'runtime', runtimes[best], 'created_at', int(now),
  'last_used', int(now), 'idle_timeout', ARGV.idle_timeout, 'max_age', ARGV.max_age, 'spec', ARGV.spec)
redis.call('HSET', KEYS.session, 'most_bytes', ARGV.most_bytes, 'shares_bytes', ARGV.shares_bytes, 'memory', ARGV.memory, 'disk', ARGV.disk)
if shared then redis.call('HSET', KEYS.session, 'shares', 1) end
if ARGV.name ~= '' then
  redis.call('HSET', KEYS.session, 'name', ARGV.name)
  redis.call('HSET', caller_names_key(caller), ARGV.name, id)
end
if volume then
  redis.call('HSET', KEYS.session, 'volume', ARGV.volume)
  take_volume(volume, caller, ARGV.volume, id, now)
end
if ARGV.workdir ~= '' then redis.call('HSET', KEYS.session, 'workdir', ARGV.workdir) end
if ARGV.home ~= '' then redis.call('HSET', KEYS.session, 'home', ARGV.home) end
if ARGV.metadata ~= '' then redis.call('HSET', KEYS.session, 'metadata', ARGV.metadata) end
if ends_at ~= '' then redis.call('HSET', KEYS.session, 'ends_at', ends_at) end
if ARGV.at_end ~= '' then
  redis.call('HSET', KEYS.session, 'at_end', ARGV.at_end)
  if ends_at ~= '' then redis.call('HSET', KEYS.session, 'end_span', int(tonumber(ends_at) - now)) end
end
local due = int(math.min(now + tonumber(ARGV.idle_timeout), latest_end(now, ARGV.max_age, ends_at ~= '' and ends_at)))
redis.call('ZADD', SESSIONS_DUE, due, id)
redis.call('SADD', P .. 'runners', best)
redis.call('SADD', runner_sessions_key(best), id)
redis.call('ZADD', caller_sessions_key(caller), 0, id)
hold_session(id, bytes)
return { 'opened', int(now), best, runtimes[best], ends_at, due }
