-- fire: makes the job of a schedule's run, as create does, and moves the time of the next run, in one step. So
-- any number of processes may try, and may try again.
-- args: schedule, revision, due (ms; '' for a run that was asked for), next (ms; '' for no run), overlap, kept (number
--       of ids of jobs to keep), code, message (of a job that is replaced), tombstone
-- It takes the keys, arguments and commands of create, too.
-- Answers as create does | {'moved'} if another process has made the run, or the schedule has changed |
-- {'skipped', id of a job that has not ended}. Any other answer leaves the time as it is.
local key = P .. 'schedule:' .. ARGV.schedule
local jobs = key .. ':jobs'
local function create()
-- include create
end
if redis.call('EXISTS', KEYS.job) == 1 then return create() end -- this is sent again
if not is_due(ARGV.schedule, ARGV.revision, ARGV.due) then return { 'moved' } end
local active = {}
if ARGV.overlap ~= 'queue' and ARGV.due ~= '' then
  for _, id in ipairs(redis.call('LRANGE', jobs, 0, -1)) do
    local f = redis.call('HMGET', job_key(id), 'state', 'runner')
    if f[1] and not terminal_state(f[1]) then active[#active + 1] = { id = id, state = f[1], runner = f[2] } end
  end
end
if ARGV.overlap == 'skip' and #active > 0 then
  redis.call('HSET', key, 'last_skipped', ARGV.due)
  move_run(ARGV.schedule, ARGV.due, ARGV.next)
  return { 'skipped', active[1].id }
end
local answer = create()
if answer[1] ~= 'created' then return answer end
for _, old in ipairs(active) do
  if old.state == 'running' then
    redis.call('HSET', job_key(old.id), 'cancel', '1')
    tell_cancelled(old.runner, old.id)
  else
    settle(old.id, 'cancelled', '', ARGV.code, ARGV.message, ARGV.tombstone)
  end
end
redis.call('HSET', KEYS.job, 'schedule', ARGV.schedule)
redis.call('LPUSH', jobs, ARGV.id)
redis.call('LTRIM', jobs, 0, tonumber(ARGV.kept) - 1)
redis.call('HSET', key, 'last_job', ARGV.id, 'last_at', answer[2])
redis.call('HDEL', key, 'last_error', 'last_error_at')
move_run(ARGV.schedule, ARGV.due, ARGV.next)
return answer
