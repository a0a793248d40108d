-- takes: what the live sessions of a caller may take.
-- keys: sessions (of the caller)
-- args: caller
-- Answers {bytes of memory, bytes of disk}.
local memory, disk = session_takes(ARGV.caller)
return { memory, disk }
