# tries: take memory that no process has mapped: memfd, written and forgotten
# strict: ended at the memory limit, or refused
# basic: ended at the memory limit, or refused
# end: ok HELD | exit MemoryLimitExceeded
# timeout: 120
# limits: {"memoryBytes": 134217728}
# unsandboxed: either because memory may be limited at every level

ENOUGH = 600 << 20
chunk = os.urandom(1 << 20)
total = 0
try:
    while total < ENOUGH:
        fd, code = raw("memfd_create", b"kaa\0", 0)
        if fd < 0:
            break
        for _ in range(16):
            total += os.write(fd, chunk)
    time.sleep(0.5)
except OSError as error:
    note(total, error)
if total >= ENOUGH:
    escaped("%d MB of memfd" % (total >> 20))
finish()
