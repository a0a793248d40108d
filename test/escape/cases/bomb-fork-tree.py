# tries: the classic fork bomb, in the shell and in Python, until it is stopped
# strict: bounded by the limit, and gone with the sandbox
# basic: bounded by the limit, and gone with the execution
# end: interrupted
# timeout: 2
# limits: {"processes": 64}
# unsandboxed: either because the number may be limited at every level

pids = []
try:  # only where there is a limit
    while len(pids) < 500:
        pid = os.fork()
        if pid == 0:
            time.sleep(30)
            os._exit(0)
        pids.append(pid)
    bounded = False
except OSError:
    bounded = True
for pid in pids:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
if not bounded:
    escaped("no limit")
    finish()
    os._exit(0)
libc.prctl(15, b"kaa-left", 0, 0, 0)
end = time.monotonic() + 8  # should nobody end it
while time.monotonic() < end:
    try:
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    except OSError:
        time.sleep(0.001)
os._exit(1)
