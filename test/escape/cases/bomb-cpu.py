# tries: take all processors from others, with many busy processes
# strict: interrupted in time; others go on
# basic: interrupted in time; others go on
# end: interrupted
# timeout: 3
# unsandboxed: held because the kill ladder works at every level

for _ in range(8):
    try:
        if os.fork() == 0:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            libc.prctl(15, b"kaa-left", 0, 0, 0)
            break
    except OSError:
        break
while staying():
    pass
