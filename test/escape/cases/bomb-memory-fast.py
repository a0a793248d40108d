# tries: take memory faster than a watchdog looks: one huge block, touched at once
# strict: ended at the limit, and told apart
# basic: ended at the limit, and told apart
# end: exit MemoryLimitExceeded | ok HELD
# timeout: 120
# limits: {"memoryBytes": 134217728}
# unsandboxed: either because memory may be limited at every level

try:
    block = mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x8000)  # MAP_POPULATE
    escaped("1 GB at once")
except (OSError, MemoryError):
    pass
finish()
