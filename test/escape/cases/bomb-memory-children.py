# tries: take memory in many children, each of which stays small
# strict: all or some of them are ended at the limit
# basic: all or some of them are ended at the limit
# end: exit MemoryLimitExceeded | ok HELD
# timeout: 120
# limits: {"memoryBytes": 134217728}
# unsandboxed: either because memory may be limited at every level

ready, go = os.pipe()
pids = []
for _ in range(24):
    pid = os.fork()
    if pid == 0:
        data = bytearray(os.urandom(1 << 20)) * 40
        os.write(go, b"x")
        time.sleep(10)
        os._exit(0)
    pids.append(pid)
seen = 0
while seen < len(pids) and select.select([ready], [], [], 2)[0]:
    seen += len(os.read(ready, 100))
for pid in pids:
    os.kill(pid, signal.SIGKILL)
if seen == len(pids):
    escaped("24 children of 40 MB")
finish()
