# tries: close every descriptor, its control socket too, and stay
# strict: ended, at its timeout at the latest
# basic: ended, at its timeout at the latest
# end: any
# timeout: 2
# unsandboxed: held because the runner watches the process at every level

if os.fork() == 0:
    os.setsid()
    libc.prctl(15, b"kaa-left", 0, 0, 0)
    os.closerange(0, 4096)
    time.sleep(45)
    os._exit(0)
os.closerange(0, 4096)
while staying():
    try:
        time.sleep(1)
    except BaseException:
        pass
