-- dropVolume: deletes a volume that no session uses. The cleaner deletes its snapshot.
-- args: caller, name
-- Answers {'dropped'} | {'in_use', session, 'lives' or 'saving'} | {'no_volume'}.
local key, now = volume_key(ARGV.caller, ARGV.name), now_ms()
if redis.call('EXISTS', key) == 0 then return { 'no_volume' } end
local used = volume_refusal(key, now)
if used then return used end
drop_volume(key, now)
return { 'dropped' }
