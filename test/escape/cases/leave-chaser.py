# tries: run away from whoever kills by pid: each process forks the next and ends, several at a time
# strict: the namespace ends with its first process
# basic: caught before the execution is over
# end: ok HELD
# timeout: 20
# unsandboxed: held because the test looks for what is left, at every level

def run():
    libc.prctl(15, b"kaa-left", 0, 0, 0)
    os.closerange(0, 1024)
    end = time.monotonic() + 8  # so that a failure does not stay for ever
    while time.monotonic() < end:
        try:
            if os.fork() > 0:
                os._exit(0)
            os.setsid()
        except OSError:
            pass
    os._exit(0)


for _ in range(4):
    if os.fork() == 0:
        run()
time.sleep(0.2)
finish()
