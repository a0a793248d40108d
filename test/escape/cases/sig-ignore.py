# tries: outlive its timeout: ignores and blocks every signal, in children too, and never returns
# strict: killed after the grace
# basic: killed after the grace
# end: interrupted
# timeout: 1
# unsandboxed: held because the kill ladder works at every level

for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        libc.prctl(15, b"kaa-left", 0, 0, 0)
        while staying():
            time.sleep(1)
while staying():
    pass
