# tries: outlive its timeout: stops itself and its children, so that no handler runs
# strict: killed all the same
# basic: killed all the same
# end: interrupted
# timeout: 1
# unsandboxed: held because the kill ladder works at every level

for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        libc.prctl(15, b"kaa-left", 0, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
while staying():
    os.kill(os.getpid(), signal.SIGSTOP)
