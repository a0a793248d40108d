-- pass: a run of a schedule that is due makes no job. It moves the time of the next run.
-- args: schedule, revision, due, next (ms; '' for no run), error
-- Answers {'passed'} | {'moved'} as fire does.
if not is_due(ARGV.schedule, ARGV.revision, ARGV.due) then return { 'moved' } end
redis.call('HSET', P .. 'schedule:' .. ARGV.schedule, 'last_error', ARGV.error, 'last_error_at', int(now_ms()))
move_run(ARGV.schedule, ARGV.due, ARGV.next)
return { 'passed' }
