-- schema: records the version of the records, or raises it. Records without a version are those of
-- the releases before there was one: version 1.
-- keys: schema, queues
-- args: version, read_by (the lowest version that can work on it), oldest (the lowest that the caller reads), by (its release)
-- Answers {version, lowest version that can work on it, release} as they are then.
local stored = redis.call('HMGET', KEYS.schema, 'version', 'read_by', 'by')
local version, read_by = tonumber(stored[1] or 0), tonumber(stored[2] or 0)
if version == 0 and redis.call('EXISTS', KEYS.queues) == 1 then
  version, read_by = 1, 1
  redis.call('HSET', KEYS.schema, 'version', 1, 'read_by', 1, 'by', 'before versions')
end
local own = tonumber(ARGV.version)
if own > version and (version == 0 or version >= tonumber(ARGV.oldest)) then
  redis.call('HSET', KEYS.schema, 'version', own, 'read_by', math.max(read_by, tonumber(ARGV.read_by)), 'by', ARGV.by)
end
return redis.call('HMGET', KEYS.schema, 'version', 'read_by', 'by')
