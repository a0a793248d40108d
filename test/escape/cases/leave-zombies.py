# tries: fill the process table with the dead: hundreds of orphans that nobody waits for
# strict: its supervisor waits for them
# basic: its supervisor waits for them
# end: ok HELD
# timeout: 30
# unsandboxed: held because orphans are collected at every level

made = 0
for _ in range(300):
    for attempt in range(100):
        try:
            pid = os.fork()
            break
        except OSError:
            time.sleep(0.05)
    else:
        raise RuntimeError("%d orphans fill the table" % made)
    if pid == 0:
        try:
            os.fork()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    made += 1
for _ in range(20):  # and some of its own
    if os.fork() == 0:
        os._exit(0)
finish()
