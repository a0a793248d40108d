-- pause: no job of a queue is claimed until unpause.
-- keys: paused
-- args: queue
-- Answers the time since which it is paused, in milliseconds.
redis.call('HSETNX', KEYS.paused, ARGV.queue, int(now_ms()))
return redis.call('HGET', KEYS.paused, ARGV.queue)
