# tries: leave fifty processes behind, some stopped, some deaf to signals, some without any descriptor
# strict: all end with the sandbox
# basic: all end with the execution
# end: ok HELD
# timeout: 20
# unsandboxed: held because the test looks for what is left, at every level

for i in range(50):
    try:
        pid = os.fork()
    except OSError:
        break
    if pid == 0:
        os.setsid()
        libc.prctl(15, b"kaa-left", 0, 0, 0)
        libc.prctl(1, 0, 0, 0, 0)  # no signal when the parent dies
        if i % 3 == 0:
            os.closerange(0, 1024)
        if i % 3 == 1:
            signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        if i % 5 == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
        while staying():
            time.sleep(1)
finish()
