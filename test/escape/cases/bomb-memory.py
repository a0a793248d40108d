# tries: take memory until there is no more
# strict: ended at the limit, and told apart
# basic: ended at the limit, and told apart
# end: exit MemoryLimitExceeded
# timeout: 120
# limits: {"memoryBytes": 134217728}
# unsandboxed: either because memory may be limited at every level

blocks = []
while len(blocks) < 96:  # 1.5 GB, where nothing stops it
    blocks.append(b"x" * (16 << 20))
escaped("1.5 GB")
finish()
