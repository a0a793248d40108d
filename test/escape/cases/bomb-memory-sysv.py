# tries: take memory that no process has mapped: System V segments, touched and detached
# strict: ended at the memory limit, or refused
# basic: refused
# end: ok HELD | exit MemoryLimitExceeded
# timeout: 120
# limits: {"memoryBytes": 134217728}
# unsandboxed: either because memory may be limited at every level

key = (HINTS.get("victim", {}).get("key") or 0x6B616100) + 0x110
SIZE, ENOUGH = 32 << 20, 19
libc.shmat.restype = ctypes.c_void_p
made = []
while len(made) < ENOUGH:
    number = libc.shmget(key + len(made), ctypes.c_size_t(SIZE), 0o1600)
    if number < 0:
        break
    made.append(number)
    address = libc.shmat(number, None, 0)
    ctypes.memset(address, 1, SIZE)
    libc.shmdt(ctypes.c_void_p(address))
time.sleep(0.5)
for number in made:
    libc.shmctl(number, 0, 0)
if len(made) >= ENOUGH:
    escaped("%d MB of segments" % (len(made) * SIZE >> 20))
finish()
