# tries: start processes until no more can be had
# strict: refused at the limit
# basic: refused at the limit
# end: ok HELD
# timeout: 30
# limits: {"processes": 64}
# unsandboxed: either because the number may be limited at every level

ENOUGH = 500
pids = []
while len(pids) < ENOUGH:
    try:
        pid = os.fork()
    except OSError as error:
        note(len(pids), error)
        break
    if pid == 0:
        while staying():
            time.sleep(1)
    pids.append(pid)
if len(pids) >= ENOUGH:
    escaped("%d processes" % len(pids))
for pid in pids:
    os.kill(pid, signal.SIGKILL)
for pid in pids:
    os.waitpid(pid, 0)
finish()
